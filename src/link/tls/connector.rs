//! TLS towards a backend.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::ClientTls;
use super::engine::Engine;
use super::files::{self, TlsError};
use super::shake::shake_hands;
use crate::link::Stream;
use crate::watched::Watched;

/// Who shakes hands with a bridge's backends.
pub struct Connector {
    settings: ClientTls,
    alpn: Option<&'static [u8]>,
    config: Watched<ClientConfig>,
}

/// No keys.
impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Connector {
    /// Reads the files. `host` is one that will be met, to see that a certificate can have its name; `alpn` is the
    /// protocol that is asked for, if any.
    ///
    /// # Errors
    /// The first file that is of no use, or a name that no certificate can have.
    pub fn new(settings: &ClientTls, host: &str, alpn: Option<&'static [u8]>) -> Result<Connector, TlsError> {
        name(settings, host)?;
        let files = [&settings.ca, &settings.cert, &settings.key].into_iter().flatten().cloned().collect();
        let config = Watched::new(files, || config(settings, alpn))?;
        Ok(Connector { settings: settings.clone(), alpn, config })
    }

    /// What it was made of.
    pub fn settings(&self) -> &ClientTls {
        &self.settings
    }

    /// Whether the files were of no use when they were last read.
    pub fn is_stale(&self) -> bool {
        self.config.is_stale()
    }

    /// Reads the files again if they have changed, or at once; returns whether it did. Connections that are open keep what
    /// they agreed on. Blocks.
    ///
    /// # Errors
    /// The first file that is of no use; then what was read before is used on.
    pub fn reload(&self, at_once: bool) -> Result<bool, TlsError> {
        self.config.reload(at_once, || config(&self.settings, self.alpn))
    }

    /// Shakes hands with a backend, which must prove to be `host`, unless the settings name another. There is no timeout
    /// here.
    ///
    /// # Errors
    /// No connection any more, or no agreement; the backend was told why.
    pub async fn connect(&self, stream: Stream, host: &str) -> io::Result<Stream> {
        let Stream::Tcp(tcp) = stream else {
            return Err(io::Error::other("TLS needs a TCP connection"));
        };
        let name = name(&self.settings, host).map_err(io::Error::other)?;
        let client = UnbufferedClientConnection::new(self.config.current(), name);
        let engine = Engine::Client(Box::new(client.map_err(io::Error::other)?));
        Ok(Stream::Tls(Box::new(shake_hands(tcp, engine, Vec::new()).await?)))
    }
}

/// What a backend must prove to be.
fn name(settings: &ClientTls, host: &str) -> Result<ServerName<'static>, TlsError> {
    let name = settings.server_name.as_deref().unwrap_or(host);
    ServerName::try_from(name.to_owned()).map_err(|_| TlsError {
        key: "server_name",
        rule: format!("a host name or an address, and {name:?} is none"),
    })
}

fn config(settings: &ClientTls, alpn: Option<&[u8]>) -> Result<ClientConfig, TlsError> {
    let provider = files::provider();
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError { key: "ca", rule: error.to_string() })?;
    let builder = match &settings.ca {
        _ if settings.insecure_skip_verify => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(provider)))
        }
        Some(file) => builder.with_root_certificates(files::roots("ca", file)?),
        None => builder.with_root_certificates(system_roots()?),
    };
    let mut config = match (&settings.cert, &settings.key) {
        (Some(cert), Some(key)) => {
            let chain = files::certificates("cert", cert)?;
            builder.with_client_auth_cert(chain, files::private_key(key)?).map_err(|error| TlsError {
                key: "key",
                rule: format!("the private key of the certificate in {} ({error})", cert.display()),
            })?
        }
        _ => builder.with_no_client_auth(),
    };
    config.alpn_protocols.extend(alpn.map(<[u8]>::to_vec));
    Ok(config)
}

/// What the system trusts. A root that rustls cannot read is left out, as other programs do.
fn system_roots() -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    match roots.is_empty() {
        true => Err(TlsError { key: "ca", rule: "named, because the system has no roots of its own".into() }),
        false => Ok(roots),
    }
}

/// Takes anyone for the backend, because the operator says so. Signatures are verified all the same, so that it is at
/// least one and the same anyone who has the key.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
