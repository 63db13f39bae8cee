//! The handshake.

use std::io;

use rustls::{Error, ProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Tls;
use super::engine::{Engine, Met, Sealed, Want};
use crate::link::Secured;

/// The most that a peer may send before the handshake is over, in bytes: two messages of the largest size that rustls
/// takes (64 KiB).
const MOST: usize = 128 * 1024;
/// What is read at once, in bytes: as much as most certificates take.
const READ: usize = 4 * 1024;

/// Shakes hands; `received` was read before.
///
/// # Errors
/// No connection any more, or no agreement; the peer was told why.
pub(super) async fn shake_hands(
    mut tcp: TcpStream,
    mut engine: Engine,
    mut received: Vec<u8>,
) -> io::Result<Tls> {
    let (mut plain, mut sealed) = (Vec::new(), Sealed::default());
    loop {
        let keep = &mut |payload: &[u8]| plain.extend_from_slice(payload);
        let (discard, met) = engine.step(&mut received, Want::Nothing, keep, &mut sealed);
        received.drain(..discard);
        match met {
            Ok(Met::Something) => continue,
            Ok(Met::Done | Met::Blocked) => {}
            Ok(Met::End) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) => {
                let _ = engine.step(&mut received, Want::Nothing, keep, &mut sealed);
                return Err(refuse(&mut tcp, sealed.bytes(), error).await);
            }
        }
        tcp.write_all(sealed.bytes()).await?;
        sealed.clear();
        if !engine.state().is_handshaking() {
            return Ok(Tls::new(tcp, engine, received, plain));
        }
        read_more(&mut tcp, &mut received).await?;
    }
}

/// Reads what comes next.
///
/// # Errors
/// Nothing does, or too much.
pub(super) async fn read_more(tcp: &mut TcpStream, received: &mut Vec<u8>) -> io::Result<()> {
    received.reserve(READ);
    if tcp.read_buf(received).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    match received.len() <= MOST {
        true => Ok(()),
        false => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Tells the peer that there is no agreement, and closes our direction so that a reset does not take that back.
pub(super) async fn refuse(tcp: &mut TcpStream, alert: &[u8], error: Error) -> io::Error {
    // Whoever is gone misses nothing.
    let _ = tcp.write_all(alert).await;
    let _ = tcp.shutdown().await;
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// What a handshake that is over has shown, of a client who has asked for `server_name` and is `name`.
pub(super) fn secured(engine: &Engine, server_name: Option<String>, name: Option<String>) -> Secured {
    let state = engine.state();
    let version = match state.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "TLSv1.3",
    };
    let suite = state.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
    // rustls writes the version where the list of suites has none (RFC 8446 appendix B.4).
    let cipher = suite.unwrap_or_default().replacen("TLS13_", "TLS_", 1);
    Secured { version: version.to_owned(), cipher, name, server_name }
}
