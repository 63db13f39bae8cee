//! websockify's command line.

use std::fs;
use std::process::Command;

use tokio::io::AsyncWriteExt;

use super::{name_of, status};
use crate::backends::Backend;
use crate::harness::{Natpulse, http_get};
use crate::process::Process;
use crate::tools::TempDir;

/// What natpulse says to these arguments, and its exit code.
async fn run(arguments: &[&str]) -> (Vec<String>, Option<i32>) {
    let mut natpulse = Command::new(env!("CARGO_BIN_EXE_natpulse"));
    natpulse.args(arguments);
    let mut process = Process::spawn(natpulse);
    let code = process.exit().await.code();
    (process.lines(), code)
}

#[tokio::test]
async fn tokens_and_pages_are_served_as_by_websockify() {
    let server = Backend::serve(|mut stream| async move {
        stream.write_all(b"vm").await?;
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
        Ok(())
    })
    .await;
    let dir = TempDir::new();
    let tokens = dir.path().join("tokens.cfg");
    fs::write(&tokens, format!("one: {}\n", server.addr)).unwrap();
    fs::write(dir.path().join("vnc.html"), "noVNC").unwrap();
    let (tokens, web) = (tokens.to_str().unwrap(), dir.path().to_str().unwrap());
    for flags in [
        ["--token-plugin", "TokenFile", "--token-source", tokens].as_slice(),
        &["--token-plugin=ReadOnlyTokenFile", "--token-source", tokens],
        &["--target-config", tokens],
    ] {
        let mut arguments = vec!["127.0.0.1:0", "--web", web, "--heartbeat", "5", "-v"];
        arguments.extend(flags);
        let natpulse = Natpulse::told(&arguments).await;
        assert_eq!(name_of(&natpulse, "bridge", "/websockify?token=one").await, "vm", "{flags:?}");
        assert_eq!(status(natpulse.addr("bridge"), "/websockify?token=two").await, 404, "{flags:?}");
        let page = http_get(natpulse.addr("bridge"), "/vnc.html").await;
        assert_eq!((page.status, page.body.as_str()), (200, "noVNC"), "{flags:?}");
        natpulse.stop().await;
    }
}

#[tokio::test]
async fn with_a_certificate_clients_may_use_tls_or_must() {
    let dir = TempDir::new();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let file = dir.path().join("self.pem");
    fs::write(&file, made.cert.pem() + &made.signing_key.serialize_pem()).unwrap();
    let cert = file.to_str().unwrap();
    fs::write(dir.path().join("a.txt"), "a").unwrap();
    let web = dir.path().to_str().unwrap();
    for only in [false, true] {
        let mut arguments = vec!["127.0.0.1:0", "127.0.0.1:1", "--cert", cert, "--web", web];
        arguments.extend(only.then_some("--ssl-only"));
        let natpulse = Natpulse::told(&arguments).await;
        let addr = natpulse.addr("bridge");
        let mut curl = tokio::process::Command::new(crate::tools::program("curl"));
        curl.args(["--silent", "--show-error", "--cacert", cert, "--resolve"]);
        curl.arg(format!("localhost:{}:127.0.0.1", addr.port()));
        curl.arg(format!("https://localhost:{}/a.txt", addr.port()));
        assert_eq!(crate::tools::output(crate::process::PATIENCE, curl).await, "a");
        if !only {
            assert_eq!(http_get(addr, "/a.txt").await.body, "a");
        }
        natpulse.stop().await;
    }
}

#[tokio::test]
async fn a_flag_that_natpulse_lacks_is_refused_with_what_to_use() {
    for (flags, advice) in [
        (["-D"].as_slice(), "--daemon of websockify is not supported; use a service manager"),
        (&["--run-once"], "until it is told to stop"),
        (&["--timeout", "5"], "timeout(1)"),
        (&["--ssl-target"], "tls://HOST:PORT"),
        (&["--verify-client", "--cafile", "x"], "listen.tls.client_ca"),
        (&["--auth-plugin", "BasicHTTPAuth", "--auth-source", "a:b"], "access.token_file"),
        (&["--token-plugin", "JWTTokenApi", "--token-source", "x"], "access.jwt"),
        (&["--record", "x"], "natpulse keeps no traffic"),
        (&["--log-file", "x"], "standard error"),
        (&["-6"], "[::]:PORT"),
        (&["--host-token"], "?token="),
    ] {
        let mut arguments = vec!["127.0.0.1:0", "127.0.0.1:1"];
        arguments.extend(flags);
        let (lines, code) = run(&arguments).await;
        assert_eq!(code, Some(2), "{flags:?}: {lines:?}");
        let flag = flags[0].replace("-D", "--daemon").replace("-6", "--prefer-ipv6");
        let told = lines.iter().any(|line| line.starts_with(&flag) && line.contains(" use "));
        assert!(
            told && lines.join("\n").contains(advice.split("; ").last().unwrap()),
            "{flags:?}: {lines:?}"
        );
    }
    let (lines, code) = run(&["127.0.0.1:0", "--token-plugin", "TokenFile"]).await;
    assert_eq!(
        (lines.join("\n").as_str(), code),
        ("--token-plugin TokenFile needs --token-source PATH", Some(2))
    );
    let (lines, code) = run(&["127.0.0.1:0"]).await;
    assert!(
        code == Some(2) && lines[0].contains("needs a TARGET:PORT, --unix-target or --token-plugin"),
        "{lines:?}"
    );
    let (lines, code) = run(&["127.0.0.1:0", "a:1", "--web", "/nowhere"]).await;
    assert!(code == Some(2) && lines[0].starts_with("argument --web: "), "{lines:?}");
}
