//! The wire formats, tested through the public API alone: every pair of ends, every way of cutting a
//! stream, RFC 6455 rule by rule, and the presets against records as their specifications print them.
//!
//! [`pipe`] drives [`natpulse::wire::translate`] as a session does. [`end`] knows every format a second
//! time, in the plainest code that can be written for whole buffers, and [`beat`] every heartbeat: what the two
//! disagree about is a fault in one of them. The fuzz targets use them all, and [`oracle`].

mod beat;
mod beat_streams;
mod beats;
mod crossing;
mod end;
mod memory;
mod oracle;
mod pipe;
mod presets;
mod rfc6455;
mod samples;
mod streams;
