//! The closed lists from which label values come.

use crate::heartbeat::Cause;

/// How a client's attempt to open a session went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// The session opened.
    Accepted,
    /// It is a probe of another natpulse, and no session.
    Probe,
    /// The request was no valid upgrade (400, 405, 426, 431), or nothing that is HTTP.
    Rejected,
    /// The client's address may not connect (403).
    AddressDenied,
    /// It is a page of an origin that may not (403).
    OriginDenied,
    /// It did not come through a proxy that says whom it speaks for, where only such are let in.
    Untrusted,
    /// It has no valid token (401).
    TokenDenied,
    /// There was no agreement on TLS, or the client had no certificate that lets it in.
    TlsFailed,
    /// Its address has as much as it may have, or tries too often (429).
    Limited,
    /// The request did not come in time (408).
    TimedOut,
    /// The path or the token names no backend (404).
    UnknownTarget,
    /// The path names a backend that may not be dialled (403).
    ForbiddenTarget,
    /// The backend could not be dialled (502).
    BackendFailed,
    /// As many sessions as are allowed are open, or natpulse is leaving (503).
    Unavailable,
}

impl Handshake {
    pub(super) const ALL: [Handshake; 14] = [
        Handshake::Accepted,
        Handshake::Probe,
        Handshake::Rejected,
        Handshake::AddressDenied,
        Handshake::OriginDenied,
        Handshake::Untrusted,
        Handshake::TokenDenied,
        Handshake::TlsFailed,
        Handshake::Limited,
        Handshake::TimedOut,
        Handshake::UnknownTarget,
        Handshake::ForbiddenTarget,
        Handshake::BackendFailed,
        Handshake::Unavailable,
    ];

    pub(super) fn label(self) -> &'static str {
        match self {
            Handshake::Accepted => "accepted",
            Handshake::Probe => "probe",
            Handshake::Rejected => "rejected",
            Handshake::AddressDenied => "address_denied",
            Handshake::OriginDenied => "origin_denied",
            Handshake::Untrusted => "untrusted",
            Handshake::TokenDenied => "token_denied",
            Handshake::TlsFailed => "tls_failed",
            Handshake::Limited => "limited",
            Handshake::TimedOut => "timed_out",
            Handshake::UnknownTarget => "unknown_target",
            Handshake::ForbiddenTarget => "forbidden_target",
            Handshake::BackendFailed => "backend_failed",
            Handshake::Unavailable => "unavailable",
        }
    }
}

/// How an attempt to reach a backend went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialling {
    /// It is ready to be spoken to.
    Connected,
    /// There is no connection, or no handshake.
    Failed,
    /// It took too long.
    TimedOut,
}

impl Dialling {
    pub(super) const ALL: [Dialling; 3] = [Dialling::Connected, Dialling::Failed, Dialling::TimedOut];

    pub(super) fn label(self) -> &'static str {
        match self {
            Dialling::Connected => "connected",
            Dialling::Failed => "failed",
            Dialling::TimedOut => "timed_out",
        }
    }
}

/// What became of an attempt to deliver events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// They were taken.
    Delivered,
    /// The receiver answered that it does not take them.
    Refused,
    /// There was no connection, or no answer in time.
    Failed,
}

impl Delivery {
    pub(super) const ALL: [Delivery; 3] = [Delivery::Delivered, Delivery::Refused, Delivery::Failed];

    pub(super) fn label(self) -> &'static str {
        match self {
            Delivery::Delivered => "delivered",
            Delivery::Refused => "refused",
            Delivery::Failed => "failed",
        }
    }
}

/// Everything that can cause a death.
pub(super) const CAUSES: [Cause; 3] = [Cause::Nat, Cause::Unclear, Cause::Reset];

/// The directions, in the order in which they are counted.
pub(super) const DIRECTIONS: [&str; 2] = ["uplink", "downlink"];

/// The place of a value in its list, which is complete.
pub(super) fn index_of<T: PartialEq>(all: &[T], value: &T) -> usize {
    all.iter().position(|known| known == value).expect("ALL lists every value")
}
