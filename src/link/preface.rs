//! What stands in front of everything that a connection is for: the PROXY header, on its way in and on its way out.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Stream;
use super::proxy_protocol::{Ends, parse};

/// Why a connection has no header that can be read.
#[derive(Debug)]
pub enum NoHeader {
    /// It broke off.
    Io(io::Error),
    /// It says something else.
    Broken(&'static str),
}

/// Bytes that are looked at at once: the longest header that the specification has a proxy send in one piece.
const WINDOW: usize = 536;

/// Takes the PROXY header off a TCP connection, and not a byte more; comes out with whom it is about, if it is about
/// anyone.
///
/// # Errors
/// The connection breaks off, or begins with something else. There is no timeout here.
pub async fn take_header(stream: &mut Stream) -> Result<Option<Ends>, NoHeader> {
    let Stream::Tcp(stream) = stream else {
        return Err(NoHeader::Broken("no TCP connection"));
    };
    let mut seen = Vec::new();
    loop {
        let known = seen.len();
        seen.resize(known + WINDOW, 0);
        // What is behind the header must stay where it is, for whoever reads it next.
        let more = stream.peek(&mut seen[known..]).await.map_err(NoHeader::Io)?;
        if more == 0 {
            return Err(NoHeader::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        seen.truncate(known + more);
        let header = parse(&seen).map_err(NoHeader::Broken)?;
        let end = header.map_or(seen.len(), |header| header.length);
        stream.read_exact(&mut seen[known..end]).await.map_err(NoHeader::Io)?;
        if let Some(header) = header {
            return Ok(header.ends);
        }
    }
}

/// Says who is calling, before anything else is said.
pub(super) async fn introduce(stream: &mut Stream, header: &[u8]) -> io::Result<()> {
    if header.is_empty() { Ok(()) } else { stream.write_all(header).await }
}
