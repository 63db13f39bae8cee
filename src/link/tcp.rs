//! What the kernel knows about a TCP connection (tcp(7), TCP_INFO), and what only it can be told in its own words.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use crate::heartbeat::Path;

/// Fields of `struct tcp_info`, by their offset in bytes (linux/tcp.h; it only ever grows at its end).
const STATE: usize = 0;
const PROBES: usize = 3;
const UNACKED: usize = 24;
const LAST_ACK_RECV: usize = 56;
const NOTSENT_BYTES: usize = 144;
const SND_WND: usize = 228;
/// As much of it as we read. `tcpi_snd_wnd` is there since Linux 5.4.
const SIZE: usize = SND_WND + 4;

/// The state of a connection whose peer has ended its direction (include/net/tcp_states.h).
const CLOSE_WAIT: u8 = 8;

/// Whether the peer has ended its direction, though what it sent before may not have been read.
pub(super) fn has_peer_ended(socket: BorrowedFd<'_>) -> bool {
    info(socket).is_some_and(|info| info[STATE] == CLOSE_WAIT)
}

/// Asks the kernel; `None` where the socket is not TCP, or not connected any more.
pub(super) fn path(socket: BorrowedFd<'_>) -> Option<Path> {
    let info = info(socket)?;
    let field = |at: usize| {
        let bytes = info[at..at + 4].try_into().expect("four bytes");
        u32::from_ne_bytes(bytes)
    };
    Some(Path {
        ack_age: Duration::from_millis(field(LAST_ACK_RECV).into()),
        in_flight: field(UNACKED) > 0,
        unsent: field(NOTSENT_BYTES) > 0,
        window: field(SND_WND),
        window_probes: info[PROBES],
    })
}

fn info(socket: BorrowedFd<'_>) -> Option<[u8; SIZE]> {
    let mut info = [0_u8; SIZE];
    let mut length = SIZE as libc::socklen_t;
    #[expect(unsafe_code, reason = "no maintained crate asks for TCP_INFO")]
    // SAFETY: the pointer and the length describe `info`, which lives until the call returns; the kernel writes at
    // most `length` bytes to it, and any bytes are valid for an array of them.
    let failed = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    (failed == 0 && length as usize >= NOTSENT_BYTES + 4).then_some(info)
}

/// The option's number (linux/tcp.h, since 6.15; `libc` does not have it).
const TCP_RTO_MAX_MS: libc::c_int = 44;

/// Bounds the pauses between two attempts of the kernel's to reach the peer, of 1 to 120 s. An older kernel refuses, and
/// keeps its 120 s.
pub(super) fn set_longest_pause(socket: BorrowedFd<'_>, pause: Duration) {
    let milliseconds = pause.as_millis().min(120_000) as libc::c_int;
    #[expect(unsafe_code, reason = "no maintained crate sets TCP_RTO_MAX_MS")]
    // SAFETY: the pointer and the length describe `milliseconds`, which lives until the call returns; the kernel only
    // reads it.
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            TCP_RTO_MAX_MS,
            (&raw const milliseconds).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        );
    }
}
