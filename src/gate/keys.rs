//! Keys that tokens are signed with. A key is of one algorithm, whatever a token says of itself: a public key is never
//! taken for a secret.

use std::fmt;

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;

/// How a token is signed (RFC 7518 section 3.1, RFC 8037 section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC with SHA-256: whoever can check a token can make one.
    Hs256,
    /// RSASSA-PKCS1-v1_5 with SHA-256, and a key of 2048 bits at least.
    Rs256,
    /// ECDSA over P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// Every algorithm by its name.
    pub const WORDS: [(&str, Algorithm); 4] = [
        ("HS256", Algorithm::Hs256),
        ("RS256", Algorithm::Rs256),
        ("ES256", Algorithm::Es256),
        ("EdDSA", Algorithm::EdDsa),
    ];

    /// Its name.
    pub fn word(self) -> &'static str {
        let named = Algorithm::WORDS.iter().find(|(_, algorithm)| *algorithm == self);
        named.expect("WORDS names every algorithm").0
    }

    pub(super) fn known(self) -> jsonwebtoken::Algorithm {
        match self {
            Algorithm::Hs256 => jsonwebtoken::Algorithm::HS256,
            Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
            Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
            Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

/// What a file of keys holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// A secret, in the first line.
    Secret,
    /// A public key in PEM.
    Public,
    /// A set of keys in JSON (RFC 7517).
    Set,
}

/// A key.
pub(super) struct Key {
    pub(super) algorithm: Algorithm,
    /// What a set calls it.
    pub(super) id: Option<String>,
    pub(super) key: DecodingKey,
}

/// Everything but the key.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("algorithm", &self.algorithm)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// The shortest secret, in bytes: as long as the hash (RFC 7518 section 3.2).
const SHORTEST_SECRET: usize = 32;

/// The keys of a file.
///
/// # Errors
/// The rule that it breaks; nothing of what it holds.
pub(super) fn parse(kind: KeyKind, text: &str) -> Result<Vec<Key>, String> {
    match kind {
        KeyKind::Secret => {
            let secret = text.lines().next().unwrap_or_default().trim();
            let is_long = secret.len() >= SHORTEST_SECRET;
            let rule = || format!("a file whose first line has at least {SHORTEST_SECRET} characters");
            let key = is_long.then(|| DecodingKey::from_secret(secret.as_bytes())).ok_or_else(rule)?;
            Ok(vec![Key { algorithm: Algorithm::Hs256, id: None, key }])
        }
        KeyKind::Public => public(text).map(|key| vec![key]).ok_or_else(|| {
            "a PEM file with one PUBLIC KEY, of RSA with 2048 bits or more, of P-256 or of Ed25519".to_owned()
        }),
        KeyKind::Set => {
            let set: Set = serde_json::from_str(text)
                .map_err(|error| format!("a JSON Web Key Set, {{\"keys\": [...]}} ({error})"))?;
            // Those of kinds unknown to us are for somebody else (RFC 7517 section 5).
            Ok(set.keys.into_iter().filter_map(|key| of_set(&serde_json::from_value(key).ok()?)).collect())
        }
    }
}

/// A set, whose keys are looked at one by one.
#[derive(Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

/// How a SubjectPublicKeyInfo of an Ed25519 key begins, and how long it is (RFC 8410 section 4).
const ED25519: ([u8; 12], usize) = (*b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00", 44);
/// The same of a P-256 key, its point not compressed (RFC 5480 section 2).
const P256: ([u8; 27], usize) = (
    *b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00\x04",
    91,
);
/// What follows the length in that of an RSA key (RFC 3279 section 2.3.1).
const RSA: [u8; 15] = *b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
/// An RSA key of 2048 bits is no shorter, in bytes.
const SHORTEST_RSA: usize = 290;

/// The one public key of a PEM file.
fn public(text: &str) -> Option<Key> {
    let mut keys = SubjectPublicKeyInfoDer::pem_slice_iter(text.as_bytes());
    let (first, other) = (keys.next()?.ok()?, keys.next());
    let der: &[u8] = first.as_ref();
    // Two bytes say what it is, and two its length, where that takes more than one.
    let (algorithm, key) = if der.starts_with(&ED25519.0) && der.len() == ED25519.1 {
        (Algorithm::EdDsa, DecodingKey::from_ed_der(der))
    } else if der.starts_with(&P256.0) && der.len() == P256.1 {
        (Algorithm::Es256, DecodingKey::from_ec_der(der))
    } else if der.get(4..).is_some_and(|rest| rest.starts_with(&RSA)) && der.len() >= SHORTEST_RSA {
        (Algorithm::Rs256, DecodingKey::from_rsa_der(der))
    } else {
        return None;
    };
    other.is_none().then_some(Key { algorithm, id: None, key })
}

/// A key of a set, if it is for signatures, and of a kind known to us.
fn of_set(key: &Jwk) -> Option<Key> {
    let (algorithm, is_sound) = match &key.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::Rs256, true),
        AlgorithmParameters::EllipticCurve(curve) => (Algorithm::Es256, curve.curve == EllipticCurve::P256),
        AlgorithmParameters::OctetKeyPair(curve) => (Algorithm::EdDsa, curve.curve == EllipticCurve::Ed25519),
        // Four characters of base64 are three bytes.
        AlgorithmParameters::OctetKey(secret) => {
            (Algorithm::Hs256, secret.value.len() * 3 / 4 >= SHORTEST_SECRET)
        }
        AlgorithmParameters::Other(_) | _ => return None,
    };
    let is_for_this =
        key.common.key_algorithm.is_none_or(|meant| meant == KeyAlgorithm::from(algorithm.known()));
    let signs = key.common.public_key_use.as_ref().is_none_or(|meant| *meant == PublicKeyUse::Signature);
    let is_ours = is_sound && is_for_this && signs;
    let id = key.common.key_id.clone();
    DecodingKey::from_jwk(key).ok().filter(|_| is_ours).map(|key| Key { algorithm, id, key })
}
