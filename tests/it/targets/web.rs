//! Files for browsers, beside the WebSockets.

use std::fs;
use std::os::unix::fs::symlink;

use tokio::net::TcpListener;

use super::status;
use crate::harness::{Natpulse, http, http_get};
use crate::process::within;
use crate::raw::upgrade;
use crate::tools::TempDir;

/// A directory with files, one of them outside of what is served: its root is `www`.
fn files() -> TempDir {
    let dir = TempDir::new();
    let root = dir.path().join("www");
    fs::create_dir_all(root.join("app")).unwrap();
    fs::write(dir.path().join("secret.txt"), "secret").unwrap();
    fs::write(root.join("index.html"), "<!doctype html>root").unwrap();
    fs::write(root.join("app/index.html"), "<!doctype html>app").unwrap();
    fs::write(root.join("app/main.js"), "export {};").unwrap();
    fs::write(root.join("app/large.bin"), vec![b'x'; 3 << 20]).unwrap();
    fs::write(root.join(".hidden"), "hidden").unwrap();
    symlink(dir.path().join("secret.txt"), root.join("link.txt")).unwrap();
    symlink(dir.path(), root.join("up")).unwrap();
    symlink(root.join("app/main.js"), root.join("inside.js")).unwrap();
    dir
}

async fn start(dir: &TempDir, backend: &TcpListener) -> Natpulse {
    Natpulse::start(&format!(
        "[[bridge]]\nname = \"b\"\nlisten = \"ws://127.0.0.1:0/websockify\"\nbackend = \"tcp://{}\"\nweb = {:?}\n",
        backend.local_addr().unwrap(),
        dir.path().join("www")
    ))
    .await
}

#[tokio::test]
async fn files_are_shown_and_sessions_open_beside_them() {
    let (dir, backend) = (files(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let natpulse = start(&dir, &backend).await;
    let addr = natpulse.addr("b");
    for (path, body, kind) in [
        ("/", "<!doctype html>root", "text/html; charset=utf-8"),
        ("/index.html?x=1", "<!doctype html>root", "text/html; charset=utf-8"),
        ("/app/", "<!doctype html>app", "text/html; charset=utf-8"),
        ("/app/main.js", "export {};", "text/javascript; charset=utf-8"),
        ("/%61pp%2fmain.js", "export {};", "text/javascript; charset=utf-8"),
        ("/inside.js", "export {};", "text/javascript; charset=utf-8"),
    ] {
        let page = http_get(addr, path).await;
        assert_eq!((page.status, page.body.as_str()), (200, body), "{path}");
        for line in [format!("content-type: {kind}"), "x-content-type-options: nosniff".to_owned()] {
            assert!(page.head.lines().any(|found| found == line), "{path}: {}", page.head);
        }
    }
    let large = http_get(addr, "/app/large.bin").await;
    assert_eq!((large.status, large.body.len()), (200, 3 << 20));
    assert!(large.head.contains("content-type: application/octet-stream"), "{}", large.head);

    assert_eq!(status(addr, "/websockify").await, 101);
    within("the dial", backend.accept()).await.unwrap();
    assert_eq!(status(addr, "/elsewhere").await, 404);
    let post = http(addr, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(post.status, 404, "{}", post.head);
    natpulse.stop().await;
}

#[tokio::test]
async fn nothing_else_is_shown() {
    let (dir, backend) = (files(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let natpulse = start(&dir, &backend).await;
    for path in [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/app/../../secret.txt",
        "/app/%2e%2e/%2e%2e/secret.txt",
        "/link.txt",
        "/up/secret.txt",
        "/.hidden",
        "//etc/passwd",
        "/app",
        "/app/nothing.js",
        "/index.html/",
        "/index.html%00.js",
        "/\\..\\secret.txt",
        "/websockify",
    ] {
        let page = http_get(natpulse.addr("b"), path).await;
        assert_eq!(page.status, 404, "{path}: {}", page.body);
        assert!(!page.body.contains("secret"), "{path}");
    }
    natpulse.stop().await;
}

#[tokio::test]
async fn a_browser_that_has_a_file_is_not_sent_it_again() {
    let (dir, backend) = (files(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let natpulse = start(&dir, &backend).await;
    let addr = natpulse.addr("b");
    let page = http_get(addr, "/app/main.js").await;
    let tag = page.head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap().to_owned();
    let again = format!("GET /app/main.js HTTP/1.1\r\nHost: a\r\nIf-None-Match: {tag}\r\n\r\n");
    let kept = http(addr, &again).await;
    assert_eq!((kept.status, kept.body.as_str()), (304, ""));
    fs::write(dir.path().join("www/app/main.js"), "export default 1;").unwrap();
    let changed = http(addr, &again).await;
    assert_eq!((changed.status, changed.body.as_str()), (200, "export default 1;"));
    natpulse.stop().await;
}

#[tokio::test]
async fn addresses_that_may_not_connect_see_no_files() {
    let dir = files();
    let natpulse = Natpulse::start(&format!(
        "[[bridge]]\nname = \"b\"\nlisten = \"ws://127.0.0.1:0/\"\nbackend = \"echo:\"\nweb = {:?}\n\
         access = {{ deny = [\"127.0.0.1\"] }}\n",
        dir.path().join("www")
    ))
    .await;
    assert_eq!(http_get(natpulse.addr("b"), "/index.html").await.status, 403);
    assert_eq!(http(natpulse.addr("b"), &upgrade("/")).await.status, 403);
    natpulse.stop().await;
}
