//! A TCP connection to a name: every address that it has and that may be dialled, raced (RFC 8305, "happy eyeballs").

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::{Authority, DialError, Reach, Stream};

/// How long an attempt is waited for before the next address is tried beside it (RFC 8305 section 8).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

type Attempt = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

/// Connects to the first of a host's addresses that answers. The name is resolved once, and what was checked is what is
/// dialled: a name that changes its mind between two questions gains nothing.
///
/// # Errors
/// No address, none that may be dialled, or none that answers: then the first one's error.
pub(super) async fn connect(authority: &Authority, reach: &Reach) -> Result<Stream, DialError> {
    let found: Vec<_> = lookup_host((authority.host.as_str(), authority.port)).await?.collect();
    let allowed: Vec<_> = found.iter().copied().filter(|address| reach.allows(address.ip())).collect();
    if let (Some(address), []) = (found.first(), &allowed[..]) {
        return Err(DialError::Forbidden(address.ip()));
    }
    Ok(Stream::tcp(race(&interleave(&allowed)).await?)?)
}

/// Addresses of the two families in turns, beginning with the one that the system puts first (RFC 8305 section 4).
fn interleave(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let is_first =
        |address: &&SocketAddr| Some(address.is_ipv6()) == addresses.first().map(SocketAddr::is_ipv6);
    let (mut one, mut other) =
        (addresses.iter().filter(is_first), addresses.iter().filter(|it| !is_first(it)));
    let mut mixed = Vec::with_capacity(addresses.len());
    while mixed.len() < addresses.len() {
        mixed.extend(one.next());
        mixed.extend(other.next());
    }
    mixed
}

/// Tries one address after the other, each a moment after the one before it, or as soon as that has failed.
async fn race(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    if let [address] = addresses {
        return TcpStream::connect(address).await;
    }
    let mut waiting = addresses.iter().copied();
    let mut attempts: Vec<Attempt> = Vec::new();
    let mut failed = None;
    loop {
        match waiting.next() {
            Some(address) => attempts.push(Box::pin(TcpStream::connect(address))),
            None if attempts.is_empty() => {
                return Err(failed.unwrap_or_else(|| io::Error::other("the name has no address")));
            }
            None => {}
        }
        let ended = match waiting.len() {
            0 => Some(first(&mut attempts).await),
            _ => timeout(ATTEMPT_DELAY, first(&mut attempts)).await.ok(),
        };
        match ended {
            Some(Ok(stream)) => return Ok(stream),
            Some(Err(error)) => {
                failed.get_or_insert(error);
            }
            None => {}
        }
    }
}

/// The first attempt that ends, which is then no longer among them.
async fn first(attempts: &mut Vec<Attempt>) -> io::Result<TcpStream> {
    poll_fn(|cx| {
        for index in 0..attempts.len() {
            if let Poll::Ready(ended) = attempts[index].as_mut().poll(cx) {
                drop(attempts.swap_remove(index));
                return Poll::Ready(ended);
            }
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};
    use tokio::time::Instant;

    use super::*;

    fn addresses(text: &[&str]) -> Vec<SocketAddr> {
        text.iter().map(|address| address.parse().unwrap()).collect()
    }

    #[test]
    fn families_take_turns() {
        let mixed = interleave(&addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.0.0.1:1", "1.0.0.2:1"]));
        assert_eq!(mixed, addresses(&["[::1]:1", "1.0.0.1:1", "[::2]:1", "1.0.0.2:1", "[::3]:1"]));
        let mixed = interleave(&addresses(&["1.0.0.1:1", "[::1]:1", "[::2]:1"]));
        assert_eq!(mixed, addresses(&["1.0.0.1:1", "[::1]:1", "[::2]:1"]));
        assert_eq!(interleave(&[]), []);
    }

    /// An address that answers no connection: its queue is full.
    async fn silent() -> (TcpListener, TcpStream) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(0).unwrap();
        let queued = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (listener, queued)
    }

    #[tokio::test]
    async fn an_address_that_does_not_answer_costs_a_quarter_of_a_second() {
        let (silent, _queued) = silent().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addresses = [silent.local_addr().unwrap(), listener.local_addr().unwrap()];
        let begun = Instant::now();
        let stream = race(&addresses).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), addresses[1]);
        assert!(begun.elapsed() >= ATTEMPT_DELAY);
    }

    #[tokio::test]
    async fn an_address_that_refuses_costs_nothing() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let (silent, _queued) = silent().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let refusing = socket.local_addr().unwrap();
        let addresses =
            [refusing, listener.local_addr().unwrap(), silent.local_addr().unwrap(), refusing, refusing];
        let stream = race(&addresses).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), addresses[1]);
        let error = race(&[refusing, refusing]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(race(&[]).await.is_err());
    }

    #[tokio::test]
    async fn what_may_not_be_dialled_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in
            ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "::ffff:127.0.0.1"]
        {
            let authority = Authority { host: host.to_owned(), port };
            let dialled = connect(&authority, &Reach::Elsewhere).await;
            assert!(matches!(dialled, Err(DialError::Forbidden(_))), "{host}: {dialled:?}");
            assert!(connect(&authority, &Reach::Anywhere).await.is_ok(), "{host}");
        }
    }
}
