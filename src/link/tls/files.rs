//! Certificates, keys and roots in files.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The largest file that is read, in bytes: a thousand roots take half of it.
const LARGEST: u64 = 4 << 20;
/// The permissions by which users other than a file's owner and group may read it (chmod(2)).
const READABLE_BY_OTHERS: u32 = 0o004;

/// A file that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsError {
    /// The key that names it, as `cert`.
    pub key: &'static str,
    /// What is allowed, and why this is not.
    pub rule: String,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} must be {}", self.key, self.rule)
    }
}

impl std::error::Error for TlsError {}

/// The cryptography that all connections use.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Whether every user of this machine may read a file.
pub fn is_exposed(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|file| file.permissions().mode() & READABLE_BY_OTHERS != 0)
}

/// The certificates in a file, of which there is at least one.
pub(super) fn certificates(key: &'static str, file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |why: &str| TlsError { key, rule: format!("a PEM file of certificates ({why})") };
    let pem = read(file).map_err(|error| wrong(&error.to_string()))?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(wrong("there is none in it")),
        Ok(certificates) => Ok(certificates),
        // What the parser says may hold a line of the file.
        Err(_) => Err(wrong("it is no PEM")),
    }
}

/// The private key in a file.
pub(super) fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let wrong = |why: &str| TlsError { key: "key", rule: format!("a PEM file with a private key ({why})") };
    let pem = read(file).map_err(|error| wrong(&error.to_string()))?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| wrong("there is none in it"))
}

/// The roots in a file, by which certificates are verified.
pub(super) fn roots(key: &'static str, file: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(key, file)? {
        roots.add(certificate).map_err(|error| TlsError {
            key,
            rule: format!("a PEM file of certificates that can be roots ({error})"),
        })?;
    }
    Ok(roots)
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > LARGEST {
        true => Err(io::Error::other("it is too large")),
        false => Ok(bytes),
    }
}
