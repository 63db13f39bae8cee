//! rustls, step by step: what it is given and gives, for both roles alike.

use std::fmt;

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus,
};
use rustls::{CommonState, Error};

/// The state of one connection.
pub(super) enum Engine {
    /// We dialled.
    Client(Box<UnbufferedClientConnection>),
    /// We were dialled.
    Server(Box<UnbufferedServerConnection>),
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Engine::Client(_) => f.write_str("Client"),
            Engine::Server(_) => f.write_str("Server"),
        }
    }
}

/// What is to be done once the peer's records are dealt with.
#[derive(Clone, Copy, Debug)]
pub(super) enum Want<'a> {
    /// Nothing.
    Nothing,
    /// Encrypt this.
    Encrypt(&'a [u8]),
    /// Say that nothing more comes.
    Goodbye,
}

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Met {
    /// Something: there may be more.
    Something,
    /// Nothing of what was received is left to deal with, and what was wanted is done.
    Done,
    /// The handshake needs more of what the peer sends.
    Blocked,
    /// The peer has said that nothing more comes.
    End,
}

/// Ciphertext on its way out. Its memory stays: clearing and filling it costs nothing but the writing.
#[derive(Debug, Default)]
pub(super) struct Sealed {
    bytes: Vec<u8>,
    filled: usize,
}

impl Sealed {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }

    pub(super) fn clear(&mut self) {
        self.filled = 0;
    }

    /// Has something written behind what is there, with as much room as it says that it needs.
    fn put<E>(
        &mut self,
        mut write: impl FnMut(&mut [u8]) -> Result<usize, E>,
        lacks: impl Fn(&E) -> Option<usize>,
    ) -> Result<(), E> {
        loop {
            match write(&mut self.bytes[self.filled..]) {
                Ok(written) => {
                    self.filled += written;
                    return Ok(());
                }
                Err(error) => match lacks(&error).filter(|size| *size > self.bytes.len() - self.filled) {
                    Some(size) => self.bytes.resize(self.filled + size, 0),
                    None => return Err(error),
                },
            }
        }
    }
}

impl Engine {
    /// What both roles have in common.
    pub(super) fn state(&self) -> &CommonState {
        match self {
            Engine::Client(client) => client,
            Engine::Server(server) => server,
        }
    }

    /// Goes on by one step. Returns how many bytes of `received` were used up, and what came of it; each record's
    /// plaintext is given to `plain`, and what the peer is to be sent is put into `sealed`.
    pub(super) fn step(
        &mut self,
        received: &mut [u8],
        want: Want<'_>,
        plain: &mut dyn FnMut(&[u8]),
        sealed: &mut Sealed,
    ) -> (usize, Result<Met, Error>) {
        match self {
            Engine::Client(client) => go_on(client.process_tls_records(received), want, plain, sealed),
            Engine::Server(server) => go_on(server.process_tls_records(received), want, plain, sealed),
        }
    }
}

fn go_on<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    want: Want<'_>,
    plain: &mut dyn FnMut(&[u8]),
    sealed: &mut Sealed,
) -> (usize, Result<Met, Error>) {
    let mut discard = status.discard;
    let met = status.state.and_then(|state| match state {
        ConnectionState::ReadTraffic(mut traffic) => {
            while let Some(record) = traffic.next_record() {
                let record = record?;
                discard += record.discard;
                plain(record.payload);
            }
            Ok(Met::Something)
        }
        ConnectionState::EncodeTlsData(mut data) => {
            sealed.put(|space| data.encode(space), encode_lacks).map_err(general)?;
            Ok(Met::Something)
        }
        ConnectionState::TransmitTlsData(data) => {
            data.done();
            Ok(Met::Something)
        }
        ConnectionState::WriteTraffic(mut traffic) => {
            match want {
                Want::Nothing => {}
                Want::Encrypt(plain) => {
                    sealed.put(|space| traffic.encrypt(plain, space), encrypt_lacks).map_err(general)?;
                }
                Want::Goodbye => {
                    sealed.put(|space| traffic.queue_close_notify(space), encrypt_lacks).map_err(general)?;
                }
            }
            Ok(Met::Done)
        }
        ConnectionState::PeerClosed | ConnectionState::Closed => Ok(Met::End),
        ConnectionState::BlockedHandshake => Ok(Met::Blocked),
        // We neither send nor accept early data (RFC 8446 section 2.3): it can be replayed.
        ConnectionState::ReadEarlyData(_) | _ => Err(Error::General("early data".into())),
    });
    (discard, met)
}

fn general(error: impl fmt::Display) -> Error {
    Error::General(error.to_string())
}

fn encode_lacks(error: &EncodeError) -> Option<usize> {
    match error {
        EncodeError::InsufficientSize(InsufficientSizeError { required_size }) => Some(*required_size),
        EncodeError::AlreadyEncoded => None,
    }
}

fn encrypt_lacks(error: &EncryptError) -> Option<usize> {
    match error {
        EncryptError::InsufficientSize(InsufficientSizeError { required_size }) => Some(*required_size),
        EncryptError::EncryptExhausted => None,
    }
}
