//! Several hosts behind one bridge, each of which has to prove to be itself.

use tokio::io::AsyncWriteExt;

use super::{attempts, counts, name_of, status};
use crate::backends::Backend;
use crate::harness::Natpulse;
use crate::process::within;
use crate::tls::acceptor;
use crate::tls::authority::{Authority, Named};

/// A server with TLS that says its name.
async fn server(own: &Named, name: &'static str) -> Backend {
    let acceptor = acceptor(own);
    Backend::serve(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = acceptor.accept(stream).await?;
            stream.write_all(name.as_bytes()).await?;
            tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
            Ok(())
        }
    })
    .await
}

#[tokio::test]
async fn a_backend_that_was_named_must_prove_that_name() {
    let authority = Authority::new();
    let server = server(&authority.names("host", &["localhost"]), "local").await;
    let port = server.addr.port();
    let natpulse = Natpulse::start(&format!(
        "[[bridge]]\nname = \"b\"\nlisten = \"ws://127.0.0.1:0/vm/{{name}}\"\n\
         backend = {{ url = \"tls://{{name}}:{port}\", tls = {{ ca = {:?} }}, \
         allow = [\"*:{port}\"], allow_addresses = [\"127.0.0.0/8\"] }}\n",
        authority.file()
    ))
    .await;
    assert_eq!(name_of(&natpulse, "b", "/vm/localhost").await, "local");
    // The same server, by a name that its certificate does not have.
    assert_eq!(status(natpulse.addr("b"), "/vm/127.0.0.1").await, 502);
    counts(&natpulse, &attempts("backend_failed"), 1.0).await;
    natpulse.stop().await;
}

#[tokio::test]
async fn a_check_wants_the_tls_that_a_session_will_need() {
    let authority = Authority::new();
    let good = server(&authority.localhost(), "good").await;
    let expired = server(&authority.expired("expired"), "expired").await;
    let plain = Backend::serve(|mut stream| async move { stream.write_all(b"plain").await }).await;
    let natpulse = Natpulse::start(&format!(
        "[[bridge]]\nname = \"b\"\nlisten = \"ws://127.0.0.1:0/\"\n\
         backend = {{ urls = [\"tls://{}\", \"tls://{}\", \"tls://{}\", \"tcp://{}\"], \
         tls = {{ ca = {:?} }}, health_check = {{ every = \"100ms\" }} }}\n",
        good.addr,
        expired.addr,
        plain.addr,
        plain.addr,
        authority.file()
    ))
    .await;
    for (state, count) in [("unhealthy", 2.0), ("healthy", 2.0)] {
        counts(&natpulse, &format!("natpulse_backends{{bridge=\"b\",state=\"{state}\"}}"), count).await;
    }
    let mut names = vec![name_of(&natpulse, "b", "/").await, name_of(&natpulse, "b", "/").await];
    names.sort();
    assert_eq!(names, ["good", "plain"]);
    within("the end", natpulse.stop()).await;
}
