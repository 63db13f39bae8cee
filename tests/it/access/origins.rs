//! Pages, told apart by the Origin header.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Scene, with};
use crate::harness::Natpulse;
use crate::process::within;
use crate::raw::upgrade;
use crate::tls::authority::Authority;
use crate::tls::{connector, secured};

/// An upgrade request of a page at `origin`, which called us `host`.
fn page(origin: &str, host: &str) -> String {
    with(&format!("Origin: {origin}")).replacen("Host: localhost", &format!("Host: {host}"), 1)
}

#[tokio::test]
async fn only_pages_of_the_same_origin_come_in_by_default() {
    let scene = Scene::new("").await;
    let here = scene.natpulse.addr("b");
    let (host, port) = (here.to_string(), here.port());
    let localhost = format!("localhost:{port}");
    let rebound = format!("app.example:{port}");
    let cases = [
        (format!("http://{host}"), &host, Ok(())),
        (format!("http://{localhost}"), &localhost, Ok(())),
        (format!("http://{localhost}"), &host, Err(403)),
        ("https://app.example".to_owned(), &host, Err(403)),
        ("null".to_owned(), &host, Err(403)),
        (format!("http://127.0.0.1:{}", port ^ 1), &host, Err(403)),
        // A page whose own name was made to lead here.
        (format!("http://{rebound}"), &rebound, Err(403)),
    ];
    let mut denied = 0.0;
    for (origin, host, expected) in cases {
        assert_eq!(scene.opens("127.0.0.1", &page(&origin, host)).await, expected, "{origin} to {host}");
        denied += f64::from(expected.is_err());
    }
    assert_eq!(scene.opens("127.0.0.1", &upgrade("/")).await, Ok(()), "no page");
    scene.counts("origin_denied", denied).await;
    let answer = scene.answer(&page("null", &host)).await;
    assert!(answer.body.contains("origin") && !answer.head.contains("upgrade"), "{}", answer.head);
    scene.dialled_nobody_else().await;
}

#[tokio::test]
async fn listed_pages_come_in_and_no_others() {
    let scene = Scene::new("access = { origins = [\"https://app.example\", \"null\"] }").await;
    let host = scene.natpulse.addr("b").to_string();
    for (origin, expected) in [
        ("https://app.example", Ok(())),
        ("null", Ok(())),
        ("https://app.example.evil", Err(403)),
        ("http://app.example", Err(403)),
        (&format!("http://{host}"), Err(403)),
    ] {
        assert_eq!(scene.opens("127.0.0.1", &page(origin, &host)).await, expected, "{origin}");
    }
    scene.dialled_nobody_else().await;
}

#[tokio::test]
async fn a_star_lets_every_page_in_and_says_so() {
    let scene = Scene::new("access = { origins = [\"*\"] }").await;
    for origin in ["https://app.example", "null"] {
        assert_eq!(scene.opens("127.0.0.1", &page(origin, "any.example")).await, Ok(()), "{origin}");
    }
    let warned = scene.natpulse.lines().iter().any(|line| line.contains("bridge b: access.origins"));
    assert!(warned, "{:?}", scene.natpulse.lines());
    scene.dialled_nobody_else().await;
}

#[tokio::test]
async fn the_log_says_once_which_page_was_turned_away_and_what_to_do() {
    let scene = Scene::new("").await;
    for origin in ["https://app.example", "https://other.example"] {
        assert_eq!(scene.opens("127.0.0.1", &page(origin, "127.0.0.1")).await, Err(403), "{origin}");
    }
    scene.counts("origin_denied", 2.0).await;
    // The second one has been turned away, and what is said of it at all has been said.
    scene.natpulse.line("a page that was turned away", |line| line.contains("access.origins")).await;
    let lines = scene.natpulse.lines();
    let told: Vec<_> = lines.iter().filter(|line| line.contains("access.origins")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("https://app.example") && told[0].contains("\"bridge\":\"b\""), "{told:?}");
    scene.dialled_nobody_else().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_told_before_who_may_not_come_in() {
    let scene = Scene::new("access = { deny = [\"127.0.0.2\"] }").await;
    let foreign = with("Origin: https://app.example");
    for (what, from, request, status) in [
        ("no such path", "127.0.0.2", foreign.replacen("GET / ", "GET /nobody ", 1), 404),
        ("no upgrade", "127.0.0.2", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 426),
        ("no GET", "127.0.0.2", foreign.replacen("GET", "POST", 1), 405),
        ("an address and an origin", "127.0.0.2", foreign.clone(), 403),
        ("an origin", "127.0.0.1", foreign, 403),
    ] {
        assert_eq!(scene.opens(from, &request).await, Err(status), "{what}");
    }
    scene.counts("address_denied", 1.0).await;
    scene.counts("origin_denied", 1.0).await;
    scene.dialled_nobody_else().await;
}

#[tokio::test]
async fn over_tls_a_name_is_as_good_as_an_address_and_a_plain_page_is_none() {
    let authority = Authority::new();
    let natpulse = Natpulse::start(&format!(
        "[[bridge]]\nname = \"b\"\nbackend = \"echo:\"\n\
         listen = {{ url = \"wss://127.0.0.1:0/\", tls = {{ {}, optional = true }} }}\n",
        authority.localhost().files()
    ))
    .await;
    let host = format!("app.example:{}", natpulse.addr("b").port());
    let connector = connector(&authority, None);
    for (origin, over_tls, over_tcp) in [
        (format!("https://{host}"), 101, 403),
        (format!("http://{host}"), 403, 403),
        ("https://other.example".to_owned(), 403, 403),
    ] {
        let request = page(&origin, &host);
        let tls = secured(&natpulse, "b", &connector).await;
        assert_eq!(status(tls, &request).await, over_tls, "{origin} over TLS");
        let tcp = TcpStream::connect(natpulse.addr("b")).await.unwrap();
        assert_eq!(status(tcp, &request).await, over_tcp, "{origin} without TLS, on the same port");
    }
    natpulse.stop().await;
}

/// The status that a request is answered.
async fn status(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> u16 {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut start = [0; 12];
    within("the answer", stream.read_exact(&mut start)).await.unwrap();
    std::str::from_utf8(&start[9..]).unwrap().parse().unwrap()
}
