//! Programs that people use.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use data_encoding::BASE64;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::{Authority, acceptor, connector, secured};
use crate::harness::Natpulse;
use crate::process::within;
use crate::tools::{TempDir, browser, output, program};

fn echo(authority: &Authority) -> String {
    format!(
        "[[bridge]]\nname = \"echo\"\nbackend = \"echo:\"\ndemo = true\n\
         listen = {{ url = \"wss://127.0.0.1:0/echo\", tls = {{ {} }} }}\n",
        authority.localhost().files()
    )
}

#[tokio::test]
async fn curl_opens_a_websocket_and_only_http_1_1_is_agreed_on() {
    let authority = Authority::new();
    let natpulse = Natpulse::start(&echo(&authority)).await;
    let page = natpulse.url("echo").replacen("wss://", "https://", 1);
    let ask = |arguments: &[&str]| {
        let mut curl = Command::new(program("curl"));
        curl.args(["-sS", "-v", "-N", "--cacert"]).arg(authority.file()).args(arguments).arg(&page);
        for header in [
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        ] {
            curl.args(["-H", header]);
        }
        let curl = curl.kill_on_drop(true).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut curl = curl.spawn().unwrap();
        let mut lines = BufReader::new(curl.stderr.take().unwrap()).lines();
        async move {
            // It is ended when it has said enough.
            let _curl = curl;
            let mut heard = Vec::new();
            while let Some(line) = within("curl to say something", lines.next_line()).await.unwrap() {
                let is_last = line.starts_with("< HTTP/") || line.starts_with("curl: (");
                heard.push(line);
                if is_last {
                    break;
                }
            }
            heard.join("\n")
        }
    };
    // Without --http1.1 it offers h2 as well, and would speak it if it could.
    for arguments in [&["--http1.1"][..], &[]] {
        let heard = ask(arguments).await;
        assert!(heard.contains("HTTP/1.1 101"), "{arguments:?}: {heard}");
        assert!(heard.contains("ALPN: server accepted http/1.1"), "{arguments:?}: {heard}");
    }
    let heard = ask(&["--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0"]).await;
    assert!(!heard.contains("HTTP/1.1"), "{heard}");
    let mut stranger = Command::new(program("curl"));
    stranger.args(["-sS", &page]).stdin(Stdio::null());
    let refused = within("curl", stranger.output()).await.unwrap();
    assert_eq!(refused.status.code(), Some(60), "a stranger's roots do not verify it: {refused:?}");
    natpulse.stop().await;
}

#[tokio::test]
async fn a_browser_that_knows_the_authority_opens_a_websocket_and_another_does_not() {
    let authority = Authority::new();
    let config = echo(&authority);
    // With the authority's own certificate behind it, so that the browser sees whose it is.
    let chain = fs::read_to_string(authority.file()).unwrap();
    let served = authority.file().with_file_name("localhost.pem");
    fs::write(&served, fs::read_to_string(&served).unwrap() + &chain).unwrap();
    let natpulse = Natpulse::start(&config).await;
    let page = natpulse.url("echo").replacen("wss://127.0.0.1", "https://localhost", 1);
    let run = |known: Option<&str>| {
        let profile = TempDir::new();
        let mut browser = browser("browser.mjs", profile.path());
        browser.arg(&page).args(known.map(|known| format!("--ignore-certificate-errors-spki-list={known}")));
        (profile, Command::from(browser))
    };
    // The browser is told of the authority by the digest of its key, as it would be of one in its store.
    let der = authority.der();
    let parsed = ParsedCertificate::try_from(&der).unwrap();
    let known = BASE64.encode(&Sha256::digest(parsed.subject_public_key_info().as_ref()));
    let (_profile, browser) = run(Some(&known));
    let told = output(Duration::from_secs(90), browser).await;
    assert_eq!(told.lines().last(), Some("all as expected"), "{told}");
    natpulse.closed_sessions(1).await;

    let (_profile, mut browser) = run(None);
    let refused = within("the browser to give up", browser.kill_on_drop(true).output()).await.unwrap();
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(told.contains("ERR_CERT_AUTHORITY_INVALID"), "{told}");
    assert_eq!(natpulse.opened().await, 1);
    natpulse.stop().await;
}

#[tokio::test]
async fn a_probe_and_a_webhook_believe_whom_they_are_told_to() {
    let authority = Authority::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let receiver = acceptor(&authority.localhost());
    let hook = listener.local_addr().unwrap();
    let config = format!(
        "[events]\nwebhook = \"https://{hook}/events\"\ntls = {{ ca = {:?} }}\n{}",
        authority.file(),
        echo(&authority)
    );
    let natpulse = Natpulse::start(&config).await;
    let url = natpulse.url("echo");
    let probe = async |arguments: &[&std::ffi::OsStr]| {
        let mut probe = Command::new(env!("CARGO_BIN_EXE_natpulse"));
        probe.args(["probe", &url, "--min", "100ms", "--max", "500ms"]).args(arguments);
        within("natpulse probe", probe.kill_on_drop(true).output()).await.unwrap()
    };
    let ca = authority.file();
    for arguments in [&["--ca".as_ref(), ca.as_os_str()][..], &["--insecure-skip-verify".as_ref()]] {
        let measured = probe(arguments).await;
        assert_eq!(measured.status.code(), Some(0), "{measured:?}");
    }
    let refused = probe(&[]).await;
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("certificate"), "{refused:?}");

    // A session is an event, and is told over TLS.
    let stream = secured(&natpulse, "echo", &connector(&authority, None)).await;
    let (ws, _) = tokio_tungstenite::client_async(url.into_client_request().unwrap(), stream).await.unwrap();
    let told = within("the event", async {
        let mut stream = receiver.accept(listener.accept().await.unwrap().0).await.unwrap();
        let mut told = Vec::new();
        while !told.ends_with(b"}") && !told.ends_with(b"]") {
            assert!(stream.read_buf(&mut told).await.unwrap() > 0, "{told:?}");
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        String::from_utf8(told).unwrap()
    })
    .await;
    assert!(told.starts_with("POST /events") && told.contains("opened"), "{told}");
    let delivered = "natpulse_webhook_requests_total{result=\"delivered\"}";
    within("it to be delivered", async { while natpulse.metrics().await[delivered] != 1.0 {} }).await;
    drop(ws);
    natpulse.closed_sessions(1).await;
}
