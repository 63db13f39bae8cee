//! The part of `access` that is about tokens: which are valid, and where a client may carry one.

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::ConfigError;
use super::reader::Reader;
use super::source::{Node, Value};
use super::units::write_duration;
use super::write::quoted;
use crate::gate::{self, Algorithm, Claims, Jwt, KeyKind, Places, Tokens};

/// Which tokens let a client in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// The file that lists some.
    pub token_file: Option<PathBuf>,
    /// Those that are signed.
    pub jwt: Option<Signed>,
    /// Where a client may carry one.
    pub places: Places,
}

/// Signed tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// What the file of keys holds.
    pub kind: KeyKind,
    /// The file of keys.
    pub file: PathBuf,
    /// What a token must say.
    pub claims: Claims,
}

/// The longest file of tokens or keys, in bytes: a device that never ends is not read for ever.
const LONGEST_FILE: u64 = 4 << 20;
/// The permission of a file that everyone may read (chmod(2)).
const READABLE_BY_OTHERS: u32 = 0o004;
const DEFAULT_LEEWAY: Duration = Duration::from_secs(30);
const COOKIE_RULE: &str = "the name of a cookie, made of letters, digits and !#$%&'*+-.^_`|~";
const PATH_RULE: &str = "the path of a file";
const KEY_FILES: [(&str, KeyKind); 3] =
    [("secret_file", KeyKind::Secret), ("key_file", KeyKind::Public), ("jwks_file", KeyKind::Set)];

impl Bearer {
    /// Takes what is about tokens out of `access`, which `path` leads to; `None` where no token is asked for.
    pub(super) fn read(path: &str, reader: &mut Reader<'_>, is_asked: bool) -> Option<Bearer> {
        let token_file = read_file("token_file", reader, |text| {
            let tokens = Tokens::parse(text)?;
            let is_empty = || "a file with a token on each line: at least one".to_owned();
            if tokens.is_empty() { Err(is_empty()) } else { Ok(()) }
        });
        let jwt = reader.take("jwt");
        let (cookie, query) = (reader.take("cookie"), reader.take("query_token"));
        for (key, node) in [("cookie", &cookie), ("query_token", &query)] {
            if let Some(node) = node.as_ref().filter(|_| !is_asked) {
                reader.wrong(key, node, "left out, or beside token_file or jwt: no token is asked for");
            }
        }
        let is_name = |name: &&str| super::bridge::is_token(name);
        let name = cookie.as_ref().and_then(|node| node.value.as_str().filter(is_name).map(str::to_owned));
        if let (Some(node), None) = (&cookie, &name) {
            reader.wrong("cookie", node, COOKIE_RULE);
        }
        let flag = query.as_ref().and_then(|node| node.value.as_boolean());
        if let (Some(node), None) = (&query, flag) {
            reader.wrong("query_token", node, "true or false");
        }
        let jwt = jwt.and_then(|node| Signed::read(&format!("{path}.jwt"), node, reader.errors));
        let places = Places { cookie: name, query: flag.unwrap_or(false) };
        is_asked.then_some(Bearer { token_file, jwt, places })
    }

    /// Reads the files anew.
    ///
    /// # Errors
    /// Which file is wrong, and the rule that it breaks; never what it says.
    pub fn load(&self) -> Result<gate::Bearer, String> {
        let of = |file: &Path, rule: String| format!("{}: must be {rule}", file.display());
        let tokens = self
            .token_file
            .as_deref()
            .map(|file| read_text(file).and_then(|text| Tokens::parse(&text)).map_err(|rule| of(file, rule)));
        let jwt = self.jwt.as_ref().map(|Signed { kind, file, claims }| {
            let text = read_text(file);
            text.and_then(|text| Jwt::parse(claims.clone(), *kind, &text)).map_err(|rule| of(file, rule))
        });
        Ok(gate::Bearer { places: self.places.clone(), tokens: tokens.transpose()?, jwt: jwt.transpose()? })
    }

    /// The files that [`Bearer::load`] reads.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let keys = self.jwt.as_ref().map(|jwt| jwt.file.as_path());
        self.token_file.as_deref().into_iter().chain(keys)
    }

    /// What whoever runs this should know.
    pub(super) fn warnings(&self) -> Vec<String> {
        let keys = self.jwt.as_ref().filter(|jwt| jwt.kind != KeyKind::Public);
        let secrets = self.token_file.iter().map(|file| ("token_file", file));
        let secrets = secrets.chain(keys.map(|jwt| ("jwt", &jwt.file)));
        let exposed = secrets.filter(|(_, file)| {
            let mode = file.metadata().map(|file| file.permissions().mode());
            mode.is_ok_and(|mode| mode & READABLE_BY_OTHERS != 0)
        });
        // A set holds a secret only if tokens may be signed with one.
        let holds_secret = |key: &str| {
            key != "jwt" || keys.is_some_and(|jwt| jwt.claims.algorithms.contains(&Algorithm::Hs256))
        };
        let exposed = exposed.filter(|(key, _)| holds_secret(key));
        let exposed = exposed
            .map(|(key, file)| format!("access.{key}: everyone on this machine may read {}", file.display()));
        let query = self.places.query.then(|| {
            "access.query_token = true lets tokens stand in URLs, which logs and histories keep".to_owned()
        });
        exposed.chain(query).collect()
    }
}

impl Signed {
    fn read(path: &str, node: Node, errors: &mut Vec<ConfigError>) -> Option<Signed> {
        let given = KEY_FILES.iter().filter(|(key, _)| node.get(key).is_some()).count();
        if given != 1 {
            let rule = "a table with one of secret_file, key_file and jwks_file".to_owned();
            let (key, value) = (path.to_owned(), Some(node.to_string()));
            errors.push(ConfigError { origin: node.origin, key, value, rule });
            return None;
        }
        let mut reader = Reader::new(path, node, errors);
        let rule = "a list of one or more of \"HS256\", \"RS256\", \"ES256\", \"EdDSA\"";
        let algorithms = reader.required("algorithms", rule);
        let algorithms = algorithms.and_then(|node| {
            let read = algorithms_of(&node.value);
            if read.is_none() {
                reader.wrong("algorithms", &node, rule);
            }
            read
        });
        let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let claims = Claims {
            algorithms: algorithms.clone().unwrap_or_default(),
            issuer: reader.parsed("issuer", "a name", text),
            audience: reader.parsed("audience", "a name", text),
            leeway: reader.duration("leeway").unwrap_or(DEFAULT_LEEWAY),
        };
        let files = KEY_FILES.map(|(key, kind)| {
            let check = |text: &str| {
                let jwt = Jwt::parse(claims.clone(), kind, text)?;
                let is_empty = || "a set with a key for one of the algorithms that are listed".to_owned();
                if jwt.is_empty() { Err(is_empty()) } else { Ok(()) }
            };
            // Without algorithms no key is one of theirs.
            match &algorithms {
                Some(_) => read_file(key, &mut reader, check).map(|file| (kind, file)),
                None => reader.take(key).map(|_| (kind, PathBuf::new())),
            }
        });
        reader.finish();
        let (kind, file) = files.into_iter().flatten().next()?;
        Some(Signed { kind, file, claims })
    }
}

fn algorithms_of(value: &Value) -> Option<Vec<Algorithm>> {
    let nodes = value.as_array().filter(|nodes| !nodes.is_empty())?;
    let known = |word: &str| Algorithm::WORDS.iter().find(|(known, _)| *known == word);
    nodes.iter().map(|node| known(node.value.as_str()?).map(|(_, algorithm)| *algorithm)).collect()
}

/// Takes the name of a file out of a table, and looks whether it is one that `check` takes.
fn read_file(
    key: &'static str,
    reader: &mut Reader<'_>,
    check: impl FnOnce(&str) -> Result<(), String>,
) -> Option<PathBuf> {
    let node = reader.take(key)?;
    let file = node.value.as_str().filter(|path| !path.is_empty()).map(PathBuf::from);
    let read = file.ok_or_else(|| PATH_RULE.to_owned());
    let read = read.and_then(|file| read_text(&file).and_then(|text| check(&text)).map(|()| file));
    read.map_err(|rule| reader.wrong(key, &node, &rule)).ok()
}

/// What a file holds.
fn read_text(file: &Path) -> Result<String, String> {
    let mut text = String::new();
    let opened = File::open(file).and_then(|file| file.take(LONGEST_FILE + 1).read_to_string(&mut text));
    match opened {
        Ok(_) if text.len() as u64 <= LONGEST_FILE => Ok(text),
        Ok(_) => Err(format!("{PATH_RULE} of at most {} MiB", LONGEST_FILE >> 20)),
        Err(error) => Err(format!("{PATH_RULE} that can be read ({error})")),
    }
}

/// The entries of `access`, as they read back.
impl fmt::Display for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut entries = Vec::new();
        entries
            .extend(self.token_file.iter().map(|file| format!("token_file = {}", quoted(&file.display()))));
        if let Some(Signed { kind, file, claims }) = &self.jwt {
            let Claims { algorithms, issuer, audience, leeway } = claims;
            let (key, _) = KEY_FILES.iter().find(|(_, known)| known == kind).expect("every kind has a key");
            let words: Vec<_> = algorithms.iter().map(|algorithm| algorithm.word()).collect();
            let mut table = format!("{key} = {}, algorithms = {words:?}", quoted(&file.display()));
            for (key, name) in [("issuer", issuer), ("audience", audience)] {
                if let Some(name) = name {
                    write!(table, ", {key} = {}", quoted(name))?;
                }
            }
            entries.push(format!("jwt = {{ {table}, leeway = \"{}\" }}", write_duration(*leeway)));
        }
        entries.extend(self.places.cookie.iter().map(|name| format!("cookie = {}", quoted(name))));
        if self.places.query {
            entries.push("query_token = true".to_owned());
        }
        f.write_str(&entries.join(", "))
    }
}
