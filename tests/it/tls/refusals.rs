//! Who is refused, on either end, and who is not.

use std::process::Stdio;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;

use super::{Authority, Named, acceptor};
use crate::backends::Backend;
use crate::harness::{Natpulse, authority as host_and_port, http_get};
use crate::process::within;
use crate::tools::program;

/// What `openssl s_client` hears from an echo service behind `url`, to which it is introduced by `more` arguments; `None`
/// where there is no connection.
async fn s_client(natpulse: &Natpulse, bridge: &str, more: &[&str]) -> Option<String> {
    let mut command = Command::new(program("openssl"));
    let url = natpulse.url(bridge);
    command.args(["s_client", "-quiet", "-verify_return_error", "-connect", host_and_port(&url)]).args(more);
    let pipe = command.kill_on_drop(true).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut client = pipe.spawn().unwrap();
    let (mut stdin, mut stdout) = (client.stdin.take().unwrap(), client.stdout.take().unwrap());
    let mut heard = [0; 5];
    let exchange = async {
        // A client that is refused may be gone before it reads this.
        let _ = stdin.write_all(b"hello").await;
        stdout.read_exact(&mut heard).await.is_ok()
    };
    let is_open = within("openssl to be answered or to leave", exchange).await;
    is_open.then(|| String::from_utf8(heard.to_vec()).unwrap())
}

#[tokio::test]
async fn clients_come_in_with_a_name_that_is_allowed_and_not_without() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let echo = Backend::serve(|mut stream| async move {
        let (mut reader, mut writer) = stream.split();
        tokio::io::copy(&mut reader, &mut writer).await.map(drop)
    })
    .await;
    let server = authority.localhost();
    let bridge = |name: &str, more: &str| {
        format!(
            "[[bridge]]\nname = \"{name}\"\nbackend = \"tcp://{}\"\n\
             listen = {{ url = \"tls://127.0.0.1:0\", tls = {{ {}{more} }} }}\n",
            echo.addr,
            server.files()
        )
    };
    let ca = format!(", client_ca = {:?}", authority.file());
    let names = format!("{ca}, client_names = [\"device-1\", \"*.dev.example\"]");
    let config = bridge("open", "") + &bridge("known", &ca) + &bridge("named", &names);
    let natpulse = Natpulse::start(&config).await;

    let device = authority.certify("device", &[], |params| {
        params.distinguished_name.push(rcgen::DnType::CommonName, "device-1");
    });
    let wildcard = authority.names("wildcard", &["x.dev.example"]);
    let other = authority.names("other", &["device-2"]);
    let expired = authority.expired("expired");
    let unknown = stranger.names("device", &["device-1"]);
    let old = ["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"];
    let cases: [(&str, Option<&Named>, &[&str], bool); 16] = [
        ("open", None, &[], true),
        ("open", None, &["-tls1_2"], true),
        ("open", None, &["-tls1_3"], true),
        ("open", None, &old, false),
        ("open", None, &["-verify_hostname", "elsewhere.example"], false),
        ("known", None, &[], false),
        ("known", None, &["-tls1_2"], false),
        ("known", Some(&other), &[], true),
        ("known", Some(&expired), &[], false),
        ("known", Some(&unknown), &[], false),
        ("named", None, &[], false),
        ("named", Some(&device), &[], true),
        ("named", Some(&device), &["-tls1_2"], true),
        ("named", Some(&wildcard), &[], true),
        ("named", Some(&other), &[], false),
        ("named", Some(&unknown), &[], false),
    ];
    let ca = authority.file();
    let mut refused = std::collections::HashMap::new();
    for (bridge, own, more, is_welcome) in cases {
        let mut arguments = vec!["-CAfile", ca.to_str().unwrap()];
        if let Some(Named { cert, key }) = own {
            arguments.extend(["-cert", cert.to_str().unwrap(), "-key", key.to_str().unwrap()]);
        }
        arguments.extend(more);
        let heard = s_client(&natpulse, bridge, &arguments).await;
        assert_eq!(heard.is_some(), is_welcome, "{bridge} {arguments:?}: {heard:?}");
        if !is_welcome {
            *refused.entry(bridge).or_insert(0.0) += 1.0;
        }
    }
    for (bridge, count) in refused {
        natpulse.counts(bridge, "tls_failed", count).await;
    }
    natpulse.stop().await;
}

#[tokio::test]
async fn a_backend_is_believed_only_with_a_certificate_of_its_own() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (good, elsewhere) = (authority.localhost(), authority.names("elsewhere", &["elsewhere.example"]));
    let (expired, unknown) = (authority.expired("expired"), stranger.localhost());
    let ca = format!("ca = {:?}", authority.file());
    let named = format!("{ca}, server_name = \"elsewhere.example\"");
    let skip = "insecure_skip_verify = true".to_owned();
    let cases = [
        (&good, &ca, true),
        (&expired, &ca, false),
        (&unknown, &ca, false),
        (&elsewhere, &ca, false),
        (&elsewhere, &named, true),
        (&good, &named, false),
        (&unknown, &skip, true),
        (&expired, &skip, true),
        // Nobody's roots but the system's, to which ours do not belong.
        (&good, &"server_name = \"localhost\"".to_owned(), false),
    ];
    let mut config = String::new();
    let mut backends = Vec::new();
    for (number, (own, tls, _)) in cases.iter().enumerate() {
        let acceptor = acceptor(own);
        let backend = Backend::serve(move |stream| {
            let acceptor = acceptor.clone();
            async move {
                let mut stream = acceptor.accept(stream).await?;
                stream.write_all(b"hello").await?;
                stream.shutdown().await
            }
        })
        .await;
        config += &format!(
            "[[bridge]]\nname = \"b{number}\"\nlisten = \"tcp://127.0.0.1:0\"\n\
             backend = {{ url = \"tls://{}\", tls = {{ {tls} }} }}\n",
            backend.addr
        );
        backends.push(backend);
    }
    let natpulse = Natpulse::start(&config).await;
    for (number, (own, tls, is_believed)) in cases.iter().enumerate() {
        let bridge = format!("b{number}");
        let mut client = TcpStream::connect(natpulse.addr(&bridge)).await.unwrap();
        let mut heard = Vec::new();
        let ended = within("the backend's word or the end", client.read_to_end(&mut heard)).await;
        assert_eq!(heard == b"hello", *is_believed, "{:?} {tls}: {heard:?} {ended:?}", own.cert);
        if !is_believed {
            natpulse.counts(&bridge, "backend_failed", 1.0).await;
        }
    }
    // Whoever skips the verification is told what that means.
    let warnings = natpulse.lines().iter().filter(|line| line.contains("insecure_skip_verify")).count();
    assert_eq!(warnings, 2);
    natpulse.stop().await;
}

#[tokio::test]
async fn plain_clients_are_served_beside_tls_only_where_that_is_said() {
    let authority = Authority::new();
    let bridge = |name: &str, more: &str| {
        format!(
            "[[bridge]]\nname = \"{name}\"\nbackend = \"echo:\"\ndemo = true\n\
             listen = {{ url = \"wss://127.0.0.1:0/{name}\", tls = {{ {}{more} }} }}\n",
            authority.localhost().files()
        )
    };
    let both = Natpulse::start(&bridge("both", ", optional = true")).await;
    let only = Natpulse::start(&bridge("only", "")).await;
    for (natpulse, name, is_optional) in [(&both, "both", true), (&only, "only", false)] {
        let ca = authority.file();
        let mut curl = Command::new(program("curl"));
        let page = natpulse.url(name).replacen("wss://", "https://", 1);
        curl.args(["-sS", "--cacert"]).arg(&ca).arg(&page);
        let page = crate::tools::output(crate::process::PATIENCE, curl).await;
        assert!(page.contains("<html"), "{page}");
        let address = natpulse.addr(name);
        if is_optional {
            let page = http_get(address, &format!("/{name}")).await;
            assert_eq!(page.status, 200);
        } else {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(b"GET /only HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            let mut heard = Vec::new();
            let _ = within("the end", client.read_to_end(&mut heard)).await;
            assert!(!heard.starts_with(b"HTTP"), "{heard:?}");
            natpulse.counts(name, "tls_failed", 1.0).await;
        }
    }
    both.stop().await;
    only.stop().await;
}
