//! TLS on a listener.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{
    Acceptor as Hello, NoServerSessionStorage, UnbufferedServerConnection, WebPkiClientVerifier,
};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme,
};
use tokio::net::TcpStream;

use super::engine::Engine;
use super::files::{self, TlsError};
use super::shake::{read_more, refuse, secured, shake_hands};
use super::{ServerTls, name_of};
use crate::link::Stream;
use crate::watched::Watched;

/// The first byte of every TLS record of a handshake (RFC 8446 section 5.1), and of no HTTP request.
const HANDSHAKE: u8 = 22;

/// Who shakes hands with the clients of one listener.
pub struct Acceptor {
    settings: ServerTls,
    alpn: Option<&'static [u8]>,
    config: Watched<ServerConfig>,
}

/// No keys.
impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Acceptor {
    /// Reads the files. Clients that name protocols (ALPN, RFC 7301) must name `alpn`, where there is one.
    ///
    /// # Errors
    /// The first of them that is of no use.
    pub fn new(settings: &ServerTls, alpn: Option<&'static [u8]>) -> Result<Acceptor, TlsError> {
        let files = [&settings.cert, &settings.key].into_iter().chain(&settings.client_ca).cloned().collect();
        let config = Watched::new(files, || config(settings, alpn))?;
        Ok(Acceptor { settings: settings.clone(), alpn, config })
    }

    /// Whether it is what would be made of this.
    pub fn is_for(&self, settings: &ServerTls, alpn: Option<&[u8]>) -> bool {
        self.settings == *settings && self.alpn == alpn
    }

    /// What it was made of.
    pub fn settings(&self) -> &ServerTls {
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

    /// Shakes hands with a client; one that speaks no TLS keeps its connection as it is, where TLS is optional. There is
    /// no timeout here.
    ///
    /// # Errors
    /// No connection any more, or no agreement; the client was told why.
    pub async fn accept(&self, stream: Stream) -> io::Result<Stream> {
        let Stream::Tcp(tcp) = stream else {
            return Err(io::Error::other("TLS needs a TCP connection"));
        };
        if self.settings.optional {
            let mut first = [0];
            let count = tcp.peek(&mut first).await?;
            if count == 1 && first[0] != HANDSHAKE {
                return Ok(Stream::Tcp(tcp));
            }
        }
        self.shake_hands(tcp).await
    }

    async fn shake_hands(&self, mut tcp: TcpStream) -> io::Result<Stream> {
        let mut received = Vec::new();
        let server_name = hear_hello(&mut tcp, &mut received).await?;
        let server = UnbufferedServerConnection::new(self.config.current()).map_err(io::Error::other)?;
        let mut tls = shake_hands(tcp, Engine::Server(Box::new(server)), received).await?;
        let certificate = tls.engine().state().peer_certificates().and_then(|chain| chain.first());
        let client_name =
            certificate.and_then(|certificate| name_of(certificate, &self.settings.client_names));
        tls.keep(secured(tls.engine(), server_name, client_name));
        Ok(Stream::Tls(Box::new(tls)))
    }
}

/// Reads a client's first message, and comes out with the server's name that it has, if any.
async fn hear_hello(tcp: &mut TcpStream, received: &mut Vec<u8>) -> io::Result<Option<String>> {
    let mut hello = Hello::default();
    let mut heard = 0;
    loop {
        read_more(tcp, received).await?;
        while heard < received.len() {
            heard += hello.read_tls(&mut &received[heard..])?;
            match hello.accept() {
                Ok(Some(accepted)) => return Ok(accepted.client_hello().server_name().map(str::to_owned)),
                Ok(None) => {}
                Err((error, mut words)) => {
                    let mut alert = Vec::new();
                    words.write_all(&mut alert)?;
                    return Err(refuse(tcp, &alert, error).await);
                }
            }
        }
    }
}

fn config(settings: &ServerTls, alpn: Option<&[u8]>) -> Result<ServerConfig, TlsError> {
    let provider = files::provider();
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError { key: "cert", rule: error.to_string() })?;
    let builder = match &settings.client_ca {
        Some(file) => {
            let roots = Arc::new(files::roots("client_ca", file)?);
            let inner =
                WebPkiClientVerifier::builder_with_provider(roots, provider).build().map_err(|error| {
                    TlsError { key: "client_ca", rule: format!("a PEM file of roots ({error})") }
                })?;
            builder
                .with_client_cert_verifier(Arc::new(Bouncer { inner, names: settings.client_names.clone() }))
        }
        None => builder.with_no_client_auth(),
    };
    let chain = files::certificates("cert", &settings.cert)?;
    let key = files::private_key(&settings.key)?;
    let mut config = builder.with_single_cert(chain, key).map_err(|error| TlsError {
        key: "key",
        rule: format!("the private key of the certificate in {} ({error})", settings.cert.display()),
    })?;
    config.alpn_protocols.extend(alpn.map(<[u8]>::to_vec));
    if settings.client_ca.is_some() {
        // A session that is resumed is not verified again: every client shows its certificate each time.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(config)
}

/// Verifies clients' certificates, and lets in only whom the operator named.
#[derive(Debug)]
struct Bouncer {
    inner: Arc<dyn ClientCertVerifier>,
    names: Vec<String>,
}

impl ClientCertVerifier for Bouncer {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.inner.verify_client_cert(end_entity, intermediates, now)?;
        match self.names.is_empty() || name_of(end_entity, &self.names).is_some() {
            true => Ok(verified),
            false => Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
