//! A certificate authority of the tests' own, with its files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::tools::TempDir;

pub struct Authority {
    certificate: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
    dir: TempDir,
}

/// A certificate with its key.
pub struct Named {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "a test's authority");
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let dir = TempDir::new();
        fs::write(dir.path().join("ca.pem"), certificate.pem()).unwrap();
        Authority { certificate, issuer: Issuer::new(params, key), dir }
    }

    /// The file with its own certificate.
    pub fn file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    pub fn der(&self) -> CertificateDer<'static> {
        self.certificate.der().clone()
    }

    /// A certificate for these DNS names and addresses, in files called `file`.
    pub fn names(&self, file: &str, names: &[&str]) -> Named {
        self.certify(file, names, |_| {})
    }

    /// The same, with the certificate's contents changed before it is signed.
    pub fn certify(&self, file: &str, names: &[&str], adapt: impl FnOnce(&mut CertificateParams)) -> Named {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        adapt(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let named = Named {
            cert: self.dir.path().join(format!("{file}.pem")),
            key: self.dir.path().join(format!("{file}.key")),
        };
        fs::write(&named.cert, certificate.pem()).unwrap();
        fs::write(&named.key, key.serialize_pem()).unwrap();
        fs::set_permissions(&named.key, fs::Permissions::from_mode(0o600)).unwrap();
        named
    }

    /// A server at this machine's own addresses.
    pub fn localhost(&self) -> Named {
        self.names("localhost", &["localhost", "127.0.0.1"])
    }

    /// One that is over.
    pub fn expired(&self, file: &str) -> Named {
        self.certify(file, &["localhost", "127.0.0.1"], |params| {
            params.not_before = date_time_ymd(2000, 1, 1);
            params.not_after = date_time_ymd(2001, 1, 1);
        })
    }
}

impl Named {
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_file_iter(&self.cert).unwrap().map(Result::unwrap).collect()
    }

    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_file(&self.key).unwrap()
    }

    /// The two files as a listener or a backend is told of them.
    pub fn files(&self) -> String {
        format!("cert = {:?}, key = {:?}", self.cert, self.key)
    }
}
