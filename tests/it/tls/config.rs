//! What a config may say of TLS.

use std::fs;
use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Authority;
use crate::bad_input::config::{each_is_told, run};
use crate::harness::Natpulse;
use crate::process::within;

/// A bridge from `listen` to `backend`.
fn bridge(listen: &str, backend: &str) -> String {
    format!("[[bridge]]\nname = \"a\"\nlisten = {listen}\nbackend = {backend}\n")
}

#[tokio::test]
async fn what_is_wrong_with_tls_is_told_with_its_place_and_its_rule() {
    let authority = Authority::new();
    let (good, other) = (authority.localhost(), authority.names("other", &["other.example"]));
    let (cert, key, ca) =
        (format!("{:?}", good.cert), format!("{:?}", good.key), format!("{:?}", authority.file()));
    let empty = good.cert.with_file_name("empty.pem");
    fs::write(&empty, "").unwrap();
    let listen =
        |tls: &str| bridge(&format!("{{ url = \"wss://127.0.0.1:0/\", tls = {{ {tls} }} }}"), "\"echo:\"");
    let files = format!("cert = {cert}, key = {key}");
    let backend = |tls: &str| {
        bridge("\"ws://127.0.0.1:0/\"", &format!("{{ url = \"tls://localhost:1\", tls = {{ {tls} }} }}"))
    };
    let told = |key: &str, value: &dyn std::fmt::Debug| format!("bridge[0].{key} = {value:?}");
    let wrong_key = told("listen.tls.key", &other.key);
    let wrong_cert = told("listen.tls.cert", &empty);
    let wrong_ca = told("backend.tls.ca", &empty);
    let cases = [
        (
            bridge("\"wss://127.0.0.1:0/\"", "\"echo:\"").replace("listen", "§listen"),
            "bridge[0].listen.tls is missing",
            "a table with cert and key",
        ),
        (
            bridge("{ url = \"ws://127.0.0.1:0/\", §tls = {} }", "\"echo:\""),
            "bridge[0].listen.tls = {...}",
            "left out, because the URL is not one with TLS",
        ),
        (
            bridge("\"ws://127.0.0.1:0/\"", "{ url = \"tcp://127.0.0.1:1\", §tls = { ca = \"x\" } }"),
            "bridge[0].backend.tls = {...}",
            "left out, because the URL is not one with TLS",
        ),
        (
            listen(&format!("cert = {cert}, §key = {:?}", other.key)),
            &wrong_key,
            "the private key of the certificate in",
        ),
        (listen(&format!("§cert = {empty:?}, key = {key}")), &wrong_cert, "(there is none in it)"),
        (
            listen(&format!("cert = {cert}, §key = \"/nowhere\"")),
            "bridge[0].listen.tls.key = \"/nowhere\"",
            "No such file",
        ),
        (listen(&format!("cert = {cert}, §key = 1")), "bridge[0].listen.tls.key = 1", "the path of a file"),
        (
            listen(&format!("{files}, §names = 1")),
            "bridge[0].listen.tls.names = 1",
            "a known key: cert, key, client_ca",
        ),
        (
            listen(&format!("{files}, §client_names = [\"a\"]")),
            "bridge[0].listen.tls.client_names = [...]",
            "left out without client_ca",
        ),
        (
            listen(&format!("{files}, client_ca = {ca}, §client_names = [1]")),
            "bridge[0].listen.tls.client_names = [...]",
            "a list of names",
        ),
        (
            listen(&format!("{files}, client_ca = {ca}, §optional = true")),
            "bridge[0].listen.tls.optional = true",
            "false where client_ca asks for certificates",
        ),
        (backend(&format!("§ca = {empty:?}")), &wrong_ca, "(there is none in it)"),
        (
            backend(&format!("ca = {ca}, §cert = {cert}")),
            "bridge[0].backend.tls.cert = ",
            "left out without key",
        ),
        (
            backend(&format!("ca = {ca}, §server_name = \"a b\"")),
            "bridge[0].backend.tls.server_name = \"a b\"",
            "a host name or an address",
        ),
        (
            backend(&format!("ca = {ca}, §insecure_skip_verify = true")),
            "bridge[0].backend.tls.insecure_skip_verify = true",
            "false where ca names whom to believe",
        ),
        (
            format!(
                "{}[[bridge]]\nname = \"b\"\n§listen = \"ws://127.0.0.1:0/b\"\nbackend = \"echo:\"\n",
                listen(&files)
            ),
            "bridge[1].listen.tls = none",
            "the same as that of bridge a, which shares the address 127.0.0.1:0",
        ),
    ];
    let whole = told("backend.tls.cert", &good.cert);
    let cases: Vec<_> = cases
        .iter()
        .map(|(config, told, rule)| {
            let told = if told.ends_with("= ") { &whole[..] } else { told };
            (config.clone(), told, *rule)
        })
        .collect();
    each_is_told(&cases).await;
}

#[tokio::test]
async fn what_is_checked_reads_back_and_shows_no_key() {
    let authority = Authority::new();
    let good = authority.localhost();
    fs::set_permissions(&good.key, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let config = format!(
        "{}[[bridge]]\nname = \"b\"\nlisten = \"tcp://127.0.0.1:0\"\n\
         backend = {{ url = \"wss://db.example/x\", tls = {{ insecure_skip_verify = true }} }}\n",
        bridge(
            &format!(
                "{{ url = \"tls://127.0.0.1:0\", tls = {{ {}, client_ca = {:?}, client_names = [\"x\", \"*.y\"] }} }}",
                good.files(),
                authority.file()
            ),
            &format!(
                "{{ url = \"tls://localhost:1\", tls = {{ ca = {:?}, server_name = \"z\", {} }} }}",
                authority.file(),
                good.files()
            ),
        )
    );
    let (lines, code) = run("check", &config, &[]).await;
    assert_eq!(code, Some(0), "{lines:?}");
    let (warnings, effective): (Vec<_>, Vec<_>) =
        lines.iter().cloned().partition(|line| line.starts_with("warning: "));
    let (again, code) = run("check", &effective.join("\n"), &[]).await;
    assert_eq!(
        (again.iter().filter(|line| !line.starts_with("warning: ")).cloned().collect(), code),
        (effective, Some(0))
    );
    for loud in ["bridge b: backend.tls.insecure_skip_verify", "listen.tls.key", "backend.tls.key"] {
        assert!(warnings.iter().any(|line| line.contains(loud)), "{loud}: {warnings:?}");
    }
    let key = fs::read_to_string(&good.key).unwrap();
    let secret = key.lines().nth(1).unwrap();
    assert!(!lines.iter().any(|line| line.contains(secret)), "the private key is shown");
}

#[tokio::test]
async fn a_command_line_names_certificates_too() {
    let authority = Authority::new();
    let own = authority.localhost();
    let file = |path: &Path| path.to_str().unwrap().to_owned();
    let (cert, key, ca) = (file(&own.cert), file(&own.key), file(&authority.file()));
    let far =
        Natpulse::told(&["bridge", "wss://127.0.0.1:0/", "echo:", "--cert", &cert, "--key", &key]).await;
    let near = ["bridge", "tcp://127.0.0.1:0", &far.url("bridge"), "--framing", "u32be", "--ca", &ca];
    let near = Natpulse::told(&near).await;
    let mut client = TcpStream::connect(near.addr("bridge")).await.unwrap();
    client.write_all(b"\0\0\0\x05hello").await.unwrap();
    let mut echoed = [0; 9];
    within("the echo", client.read_exact(&mut echoed)).await.unwrap();
    assert_eq!(&echoed, b"\0\0\0\x05hello");
    drop(client);
    near.stop().await;
    far.stop().await;
}
