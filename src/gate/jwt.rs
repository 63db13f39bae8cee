//! Signed tokens (RFC 7519), by the rules of RFC 8725: which algorithms count is said by the config, and which key is of
//! which by the key.

use std::cmp::Ordering;
use std::time::Duration;

use jsonwebtoken::{Validation, decode, decode_header};
use serde::Deserialize;

use super::keys::{self, Algorithm, Key, KeyKind};

/// What a signed token must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// How it may be signed.
    pub algorithms: Vec<Algorithm>,
    /// Who must have made it.
    pub issuer: Option<String>,
    /// For whom it must be made. A token that says for whom it is, where this does not, is not for us.
    pub audience: Option<String>,
    /// By how much clocks may differ.
    pub leeway: Duration,
}

/// What checks signed tokens.
#[derive(Debug)]
pub struct Jwt {
    claims: Claims,
    keys: Vec<Key>,
    /// Whether the keys are a set, in which a token says by its `kid` which one it is signed with.
    is_set: bool,
}

/// What is read of a token. Anything that is there twice, or is of another type, is no token.
#[derive(Deserialize)]
struct Payload {
    exp: f64,
    nbf: Option<f64>,
    iss: Option<String>,
    aud: Option<Audience>,
}

/// One or several names (RFC 7519 section 4.1.3).
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Jwt {
    /// Checks with the keys of a file.
    ///
    /// # Errors
    /// The rule that the file breaks.
    pub fn parse(claims: Claims, kind: KeyKind, text: &str) -> Result<Jwt, String> {
        let mut keys = keys::parse(kind, text)?;
        let had = keys.first().map(|key| key.algorithm.word());
        keys.retain(|key| claims.algorithms.contains(&key.algorithm));
        match (kind, had) {
            (KeyKind::Secret | KeyKind::Public, Some(word)) if keys.is_empty() => {
                Err(format!("a key for one of the algorithms that are listed (it is one for {word})"))
            }
            _ => Ok(Jwt { claims, keys, is_set: kind == KeyKind::Set }),
        }
    }

    /// Whether no key is there that a token could be signed with.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Until when a token is valid, if it is at `now`; both since the UNIX epoch.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn check(&self, token: &[u8], now: Duration) -> Result<Duration, &'static str> {
        let header = decode_header(token).map_err(|_| "it is no signed token that we know")?;
        if header.crit.is_some() {
            return Err("it asks for an extension (crit)");
        }
        let key = self.key(header.kid.as_deref()).ok_or("its key is none of ours (kid)")?;
        if header.alg != key.algorithm.known() {
            return Err("its algorithm is not the key's");
        }
        let mut validation = Validation::new(header.alg);
        // The claims are looked at here, where the time is an argument.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let payload = decode::<Payload>(token, &key.key, &validation);
        let payload =
            payload.map_err(|_| "its signature is wrong, or a claim is missing or of the wrong type")?;
        self.look(&payload.claims, now)
    }

    /// The key of this name. A token that names none is signed with the only one there is.
    fn key(&self, id: Option<&str>) -> Option<&Key> {
        match (id, &self.keys[..]) {
            (Some(id), keys) if self.is_set => keys.iter().find(|key| key.id.as_deref() == Some(id)),
            (_, [only]) => Some(only),
            _ => None,
        }
    }

    fn look(&self, payload: &Payload, now: Duration) -> Result<Duration, &'static str> {
        let Claims { issuer, audience, leeway, .. } = &self.claims;
        let (now, leeway) = (now.as_secs_f64(), leeway.as_secs_f64());
        let until = payload.exp + leeway;
        if until.partial_cmp(&now) != Some(Ordering::Greater) {
            return Err("it has expired");
        }
        if payload.nbf.is_some_and(|begins| begins - leeway > now) {
            return Err("it is not valid yet");
        }
        if issuer.is_some() && payload.iss != *issuer {
            return Err("it is not of our issuer");
        }
        let is_for_us = match (audience, &payload.aud) {
            (None, None) => true,
            (Some(us), Some(Audience::One(name))) => us == name,
            (Some(us), Some(Audience::Several(names))) => names.contains(us),
            (None, Some(_)) | (Some(_), None) => false,
        };
        // More than can be counted is for ever.
        is_for_us
            .then(|| Duration::try_from_secs_f64(until).unwrap_or(Duration::MAX))
            .ok_or("it is not for us")
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, Header, encode};
    use serde_json::{Value, json};

    use super::*;

    const SECRET: &str = "of thirty-two characters or more.";
    const NOW: Duration = Duration::from_secs(1_000_000);

    fn claims() -> Claims {
        let algorithms = vec![Algorithm::Hs256];
        Claims { algorithms, issuer: None, audience: None, leeway: Duration::from_secs(30) }
    }

    fn checked(claims: Claims, payload: &Value) -> Result<u64, &'static str> {
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        let token = encode(&Header::default(), payload, &key).unwrap();
        let jwt = Jwt::parse(claims, KeyKind::Secret, SECRET).unwrap();
        jwt.check(token.as_bytes(), NOW).map(|until| until.as_secs())
    }

    #[test]
    fn a_token_is_valid_in_its_time() {
        let expired = Err("it has expired");
        let early = Err("it is not valid yet");
        let wrong = Err("its signature is wrong, or a claim is missing or of the wrong type");
        for (payload, result) in [
            (json!({ "exp": 1_000_100 }), Ok(1_000_130)),
            (json!({ "exp": 1_000_100.5 }), Ok(1_000_130)),
            (json!({ "exp": 999_971 }), Ok(1_000_001)),
            (json!({ "exp": 999_970 }), expired),
            (json!({ "exp": 0 }), expired),
            (json!({ "exp": -1e300 }), expired),
            (json!({ "exp": 1e300 }), Ok(u64::MAX)),
            (json!({}), wrong),
            (json!({ "exp": null }), wrong),
            (json!({ "exp": "1000100" }), wrong),
            (json!({ "exp": [1_000_100] }), wrong),
            (json!({ "exp": true }), wrong),
            (json!({ "exp": 1_000_100, "nbf": 1_000_030 }), Ok(1_000_130)),
            (json!({ "exp": 1_000_100, "nbf": 1_000_031 }), early),
            (json!({ "exp": 1_000_100, "nbf": "0" }), wrong),
            (json!({ "exp": 1_000_100, "iat": "whenever", "sub": "who" }), Ok(1_000_130)),
        ] {
            assert_eq!(checked(claims(), &payload), result, "{payload}");
        }
    }

    #[test]
    fn a_token_is_of_our_issuer_and_for_us() {
        let ours = Claims { issuer: Some("i".into()), audience: Some("a".into()), ..claims() };
        for (ours, payload, result) in [
            (&ours, json!({ "exp": 1_000_100, "iss": "i", "aud": "a" }), true),
            (&ours, json!({ "exp": 1_000_100, "iss": "i", "aud": ["b", "a"] }), true),
            (&ours, json!({ "exp": 1_000_100, "iss": "i", "aud": ["b"] }), false),
            (&ours, json!({ "exp": 1_000_100, "iss": "i", "aud": [] }), false),
            (&ours, json!({ "exp": 1_000_100, "iss": "i", "aud": "b" }), false),
            (&ours, json!({ "exp": 1_000_100, "iss": "i" }), false),
            (&ours, json!({ "exp": 1_000_100, "iss": "i", "aud": null }), false),
            (&ours, json!({ "exp": 1_000_100, "iss": "j", "aud": "a" }), false),
            (&ours, json!({ "exp": 1_000_100, "iss": ["i"], "aud": "a" }), false),
            (&ours, json!({ "exp": 1_000_100, "aud": "a" }), false),
            (&claims(), json!({ "exp": 1_000_100, "iss": "i" }), true),
            (&claims(), json!({ "exp": 1_000_100, "aud": "a" }), false),
        ] {
            assert_eq!(checked(ours.clone(), &payload).is_ok(), result, "{payload}");
        }
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let jwt = Jwt::parse(claims(), KeyKind::Secret, SECRET).unwrap();
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        let good = encode(&Header::default(), &json!({ "exp": 2_000_000 }), &key).unwrap();
        assert!(jwt.check(good.as_bytes(), NOW).is_ok());
        let (rest, signature) = good.rsplit_once('.').unwrap();
        let (header, payload) = rest.split_once('.').unwrap();
        let unsigned = data_encoding::BASE64URL_NOPAD.encode(br#"{"alg":"none","typ":"JWT"}"#);
        let twice = data_encoding::BASE64URL_NOPAD.encode(br#"{"exp":2000000,"exp":3000000}"#);
        for token in [
            String::new(),
            ".".into(),
            "..".into(),
            rest.to_owned(),
            format!("{rest}."),
            format!("{good}."),
            format!("{good}x"),
            format!("{good}="),
            format!("{header}.{payload}x.{signature}"),
            format!("{header}.{twice}.{signature}"),
            format!("{unsigned}.{payload}."),
            format!("{unsigned}.{payload}.{signature}"),
            format!(" {good}"),
        ] {
            assert!(jwt.check(token.as_bytes(), NOW).is_err(), "{token}");
        }
        let critical = Header { crit: Some(vec!["exp".into()]), ..Header::default() };
        let critical = encode(&critical, &json!({ "exp": 2_000_000 }), &key).unwrap();
        assert!(jwt.check(critical.as_bytes(), NOW).unwrap_err().contains("crit"));
        let duplicate = {
            let message = format!("{header}.{twice}");
            let signed = jsonwebtoken::crypto::sign(message.as_bytes(), &key, jsonwebtoken::Algorithm::HS256);
            format!("{message}.{}", signed.unwrap())
        };
        assert!(jwt.check(duplicate.as_bytes(), NOW).is_err(), "a claim that is there twice");
    }

    #[test]
    fn in_a_set_the_key_is_the_one_that_is_named() {
        let k = |text: &str| data_encoding::BASE64URL_NOPAD.encode(text.as_bytes());
        let other = "another one of thirty-two characters.";
        let set = json!({ "keys": [
            { "kty": "oct", "kid": "1", "k": k(SECRET) },
            { "kty": "oct", "kid": "2", "alg": "HS256", "use": "sig", "k": k(other) },
            { "kty": "oct", "kid": "3", "alg": "HS512", "k": k(SECRET) },
            { "kty": "oct", "kid": "4", "use": "enc", "k": k(SECRET) },
            { "kty": "oct", "kid": "5", "k": k("too short") },
            { "kty": "of the future", "kid": "6" },
            { "kty": "EC", "crv": "of the future", "kid": "7", "x": "", "y": "" },
            7,
        ] });
        let jwt = Jwt::parse(claims(), KeyKind::Set, &set.to_string()).unwrap();
        for (kid, secret, is_in) in [
            (Some("1"), SECRET, true),
            (Some("2"), other, true),
            (Some("2"), SECRET, false),
            (Some("3"), SECRET, false),
            (Some("4"), SECRET, false),
            (Some("5"), "too short", false),
            (Some("8"), SECRET, false),
            (None, SECRET, false),
        ] {
            let header = Header { kid: kid.map(str::to_owned), ..Header::default() };
            let key = EncodingKey::from_secret(secret.as_bytes());
            let token = encode(&header, &json!({ "exp": 2_000_000 }), &key).unwrap();
            assert_eq!(jwt.check(token.as_bytes(), NOW).is_ok(), is_in, "{kid:?} {secret}");
        }
        let one = json!({ "keys": [{ "kty": "oct", "k": k(SECRET) }] }).to_string();
        let one = Jwt::parse(claims(), KeyKind::Set, &one).unwrap();
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        let token = encode(&Header::default(), &json!({ "exp": 2_000_000 }), &key).unwrap();
        assert!(one.check(token.as_bytes(), NOW).is_ok(), "the only key there is");
        assert!(!format!("{jwt:?}").contains(SECRET));
    }

    #[test]
    fn files_that_are_no_keys_are_told_by_their_rule() {
        for (kind, text, rule) in [
            (KeyKind::Secret, "short", "at least 32 characters"),
            (KeyKind::Public, "short", "PUBLIC KEY"),
            (KeyKind::Public, "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "PUBLIC KEY"),
            (KeyKind::Set, "[]", "JSON Web Key Set"),
            (KeyKind::Set, "{\"keys\": 1}", "JSON Web Key Set"),
        ] {
            let told = Jwt::parse(claims(), kind, text).unwrap_err();
            assert!(told.contains(rule) && !told.contains("short"), "{told}");
        }
        let rsa_only = Claims { algorithms: vec![Algorithm::Rs256], ..claims() };
        let told = Jwt::parse(rsa_only, KeyKind::Secret, SECRET).unwrap_err();
        assert!(told.contains("HS256"), "{told}");
        assert!(Jwt::parse(claims(), KeyKind::Set, "{\"keys\": []}").unwrap().is_empty());
    }
}
