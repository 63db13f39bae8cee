//! Who may look, and who may close a session.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;

use data_encoding::BASE64;

use super::{ask, error, local};
use crate::bad_input::config::{BRIDGE, each_is_told, run};
use crate::harness::{Natpulse, Page};
use crate::process::within;
use crate::raw::RawWs;
use crate::tools::TempDir;

const TOKEN: &str = "correct horse: battery";
const ECHO: &str = "[[bridge]]\nname = \"b\"\nlisten = \"ws://127.0.0.1:0/\"\nbackend = \"echo:\"\n";

/// natpulse whose admin port listens on this address, with a token in a file or without.
async fn start(address: &str, has_token: bool) -> (Natpulse, TempDir) {
    let dir = TempDir::new();
    let file = dir.path().join("token");
    std::fs::write(&file, format!("  {TOKEN}  \nand nothing of this\n")).unwrap();
    set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    let token = if has_token { format!("token_file = {file:?}\n") } else { String::new() };
    let config = format!("[log]\nlevel = \"trace\"\n[admin]\nlisten = \"{address}:0\"\n{token}{ECHO}");
    (Natpulse::launch(&config, |_| {}).await, dir)
}

fn basic(user: &str, password: &str) -> String {
    format!("Authorization: Basic {}\r\n", BASE64.encode(format!("{user}:{password}").as_bytes()))
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

/// What the status page was told.
async fn page_token(natpulse: &Natpulse, lines: &str) -> String {
    let page = ask(natpulse, "GET", "/", lines).await;
    let (_, rest) = page.body.split_once("<meta name=\"natpulse-page\" content=\"").expect(&page.body);
    rest.split('"').next().unwrap().to_owned()
}

fn assert_asks(page: &Page) {
    assert!(page.head.contains("\r\nwww-authenticate: bearer realm=\"natpulse\"\r\n"), "{}", page.head);
    assert!(page.head.contains("\r\nwww-authenticate: basic realm=\"natpulse\""), "{}", page.head);
}

/// Asks with each of these lines in the head, and compares the status.
async fn each(natpulse: &Natpulse, method: &str, path: &str, cases: &[(String, u16)]) {
    for (lines, status) in cases {
        let page = ask(natpulse, method, path, lines).await;
        assert_eq!(page.status, *status, "{method} {path} with {lines:?}: {}", page.body);
        match page.status {
            401 => assert_asks(&page),
            403 => assert!(!error(&page).is_empty()),
            _ => {}
        }
        assert!(!page.head.contains("access-control"), "{}", page.head);
    }
}

#[tokio::test]
async fn on_this_machine_whoever_names_it_may_look() {
    for has_token in [false, true] {
        let (natpulse, _dir) = start("127.0.0.1", has_token).await;
        let port = natpulse.admin().port();
        let cases = [
            ("localhost", 200),
            ("LOCALHOST:80", 200),
            ("127.0.0.1", 200),
            ("127.8.9.10:9464", 200),
            ("[::1]", 200),
            ("[::1]:9464", 200),
            ("[::ffff:127.0.0.1]:9464", 200),
            ("natpulse.example", 403),
            ("natpulse.example:9464", 403),
            ("localhost.example", 403),
            ("localhost@natpulse.example", 403),
            ("192.0.2.1", 403),
            ("[2001:db8::1]:9464", 403),
            ("0.0.0.0", 403),
            ("localhost:80:80", 403),
            ("", 403),
        ];
        let mut cases: Vec<_> =
            cases.iter().map(|(host, status)| (format!("Host: {host}\r\n"), *status)).collect();
        cases.push((format!("Host: 127.0.0.1:{port}\r\n"), 200));
        cases.push((String::new(), 403));
        cases.push(("Host: localhost\r\nHost: natpulse.example\r\n".to_owned(), 403));
        let with_token = format!("Host: natpulse.example\r\n{}", bearer(TOKEN));
        cases.push((with_token, if has_token { 200 } else { 403 }));
        for path in ["/", "/api/sessions", "/api/openapi.json"] {
            each(&natpulse, "GET", path, &cases).await;
        }
        let open = |(lines, _): &(String, u16)| (lines.clone(), 200);
        let open: Vec<_> = cases.iter().map(open).collect();
        for path in ["/healthz", "/readyz", "/metrics"] {
            each(&natpulse, "GET", path, &open).await;
        }
        natpulse.stop().await;
    }
}

#[tokio::test]
async fn elsewhere_it_takes_the_token_to_look() {
    let (natpulse, _dir) = start("0.0.0.0", true).await;
    let cases = [
        ("Host: localhost\r\n".to_owned(), 401),
        (bearer(TOKEN), 200),
        (bearer(TOKEN).replace("Bearer", "bearer"), 200),
        (basic("anyone", TOKEN), 200),
        (basic("", TOKEN), 200),
        (bearer("correct horse: batterx"), 401),
        (bearer("correct horse: batter"), 401),
        (bearer(&format!("{TOKEN}{TOKEN}")), 401),
        (bearer(""), 401),
        (basic(TOKEN, ""), 401),
        (basic("anyone", "correct horse"), 401),
        (format!("Authorization: {TOKEN}\r\n"), 401),
        (format!("Authorization: Basic {TOKEN}\r\n"), 401),
        (format!("Authorization: Digest {TOKEN}\r\n"), 401),
        (format!("natpulse-page: {TOKEN}\r\n"), 401),
    ];
    for path in ["/", "/api/status", "/api/sessions/1", "/nowhere"] {
        let status = |status: u16| match (status, path) {
            (200, "/api/sessions/1" | "/nowhere") => 404,
            _ => status,
        };
        let cases: Vec<_> = cases.iter().map(|(lines, wanted)| (lines.clone(), status(*wanted))).collect();
        each(&natpulse, "GET", path, &cases).await;
    }
    for path in ["/healthz", "/readyz", "/metrics"] {
        each(&natpulse, "GET", path, &[(String::new(), 200)]).await;
    }
    assert_eq!(ask(&natpulse, "POST", "/api/status", "").await.status, 401);
    natpulse.stop().await;
}

#[tokio::test]
async fn elsewhere_without_a_token_nothing_is_told_but_what_to_set() {
    let (natpulse, _dir) = start("0.0.0.0", false).await;
    for path in ["/", "/api/status"] {
        for lines in ["Host: localhost\r\n".to_owned(), bearer(""), basic("", "")] {
            let page = ask(&natpulse, "GET", path, &lines).await;
            assert_eq!(page.status, 403, "{lines}");
            assert!(error(&page).contains("token_file in [admin]"), "{}", page.body);
        }
    }
    assert_eq!(ask(&natpulse, "GET", "/metrics", "").await.status, 200);
    natpulse.stop().await;
}

#[tokio::test]
async fn who_may_close_a_session_and_from_which_page() {
    for (address, has_token) in [("127.0.0.1", false), ("127.0.0.1", true), ("0.0.0.0", true)] {
        let (natpulse, _dir) = start(address, has_token).await;
        let is_local = address == "127.0.0.1";
        let host = "Host: localhost:9464\r\n";
        let known = if is_local { String::new() } else { bearer(TOKEN) };
        let page = page_token(&natpulse, &format!("{host}{known}")).await;
        assert!(page.len() == 64 && page.bytes().all(|byte| byte.is_ascii_hexdigit()), "{page}");
        let own = format!("natpulse-page: {page}\r\n");
        let wrong = format!("natpulse-page: {}\r\n", page.replace(|digit: char| digit != '0', "0"));
        let origin = |origin: &str| format!("Origin: {origin}\r\n");
        // Nobody is there to be closed: 404 is a yes.
        let (yes, asked) = (404, if has_token { 401 } else { 403 });
        let (token, page) = (if has_token { yes } else { 403 }, if is_local { yes } else { 401 });
        let cases = [
            (host.to_owned(), asked),
            (format!("{host}{}", bearer(TOKEN)), token),
            (format!("{host}{}", basic("", TOKEN)), token),
            (format!("{host}{}{own}", bearer("another one's token")), page),
            (format!("{host}{own}"), page),
            (format!("{host}{wrong}"), if is_local { 403 } else { 401 }),
            (format!("{host}{wrong}{}", bearer(TOKEN)), token),
            (format!("{host}{own}{known}{}", origin("http://localhost:9464")), yes),
            (format!("{host}{own}{known}{}", origin("https://localhost:9464")), yes),
            (format!("{host}{own}{known}{}", origin("http://localhost")), 403),
            (format!("{host}{own}{known}{}", origin("http://natpulse.example")), 403),
            (format!("{host}{own}{known}{}", origin("http://localhost:9464.example")), 403),
            (format!("{host}{own}{known}{}", origin("null")), 403),
            (format!("{host}{own}{known}{}", origin("localhost:9464")), 403),
            (format!("{host}{own}{known}{}{}", origin("http://localhost:9464"), origin("null")), 403),
            (format!("Host: natpulse.example\r\n{own}"), if is_local { 403 } else { 401 }),
        ];
        each(&natpulse, "DELETE", "/api/sessions/1", &cases).await;

        let mut client = RawWs::open(natpulse.addr("b"), "/").await.unwrap();
        let listed = async {
            while ask(&natpulse, "GET", "/api/sessions/1", &format!("{host}{known}")).await.status != 200 {}
        };
        within("a session", listed).await;
        let closed = ask(&natpulse, "DELETE", "/api/sessions/1", &format!("{host}{own}{known}")).await;
        assert_eq!(closed.status, 204, "{}", closed.body);
        assert_eq!(client.frame().await.unwrap().close_code(), 1001);
        drop(client);
        natpulse.event("the operator closes a session", |event| event["session"] == 1).await;
        let said = natpulse.lines().join("\n");
        assert!(!said.contains(TOKEN) && !said.contains(&own[15..79]), "{said}");
        natpulse.stop().await;
    }
}

#[tokio::test]
async fn the_page_runs_nothing_but_its_own() {
    let (natpulse, _dir) = start("127.0.0.1", false).await;
    let mut nonces = std::collections::HashSet::new();
    for _ in 0..2 {
        let page = local(&natpulse, "GET", "/").await;
        assert!(page.head.contains("\r\ncontent-type: text/html; charset=utf-8\r\n"), "{}", page.head);
        for line in
            ["cache-control: no-store", "x-content-type-options: nosniff", "referrer-policy: no-referrer"]
        {
            assert!(page.head.contains(&format!("\r\n{line}\r\n")), "{}", page.head);
        }
        let policy = page.head.lines().find_map(|line| line.strip_prefix("content-security-policy: "));
        let rules: Vec<_> = policy.unwrap().split("; ").collect();
        assert!(rules.contains(&"default-src 'none'") && rules.contains(&"connect-src 'self'"), "{rules:?}");
        assert!(rules.contains(&"frame-ancestors 'none'"), "{rules:?}");
        assert!(!policy.unwrap().contains("unsafe"), "{rules:?}");
        let nonce = |what: &str| {
            let start = format!("{what} 'nonce-");
            let rule = rules.iter().find_map(|rule| rule.strip_prefix(&start[..]));
            rule.unwrap().trim_end_matches('\'').to_owned()
        };
        let (script, style) = (nonce("script-src"), nonce("style-src"));
        for (tag, nonce) in [("<script", &script), ("<style", &style)] {
            let tags: Vec<_> = page.body.match_indices(tag).map(|(at, _)| &page.body[at..]).collect();
            assert!(!tags.is_empty());
            for tag in tags {
                assert!(tag.split('>').next().unwrap().contains(&format!("nonce=\"{nonce}\"")), "{tag}");
            }
        }
        assert!(!page.body.contains("{{"), "{}", page.body);
        nonces.insert(script);
    }
    assert_eq!(nonces.len(), 2, "a nonce is used once");
    natpulse.stop().await;
}

#[tokio::test]
async fn a_token_file_that_is_none_is_told() {
    let dir = TempDir::new();
    let file = |name: &str, text: &str| {
        let file = dir.path().join(name);
        std::fs::write(&file, text).unwrap();
        file.display().to_string()
    };
    let (short, blank) = (file("short", "fifteen letters\n"), file("blank", "\n0123456789abcdef\n"));
    let told = |value: &str| format!("admin.token_file = {value}");
    let cases = [
        ("\"/nowhere/token\"".to_owned(), "can be read (No such file or directory"),
        (format!("{short:?}"), "a file whose first line has at least 16 characters"),
        (format!("{blank:?}"), "a file whose first line has at least 16 characters"),
        (format!("{:?}", dir.path().display().to_string()), "can be read"),
        ("7".to_owned(), "the path of a file"),
        ("\"\"".to_owned(), "the path of a file"),
    ];
    for (value, rule) in cases {
        let config = format!("{BRIDGE}[admin]\n§token_file = {value}\n");
        each_is_told(&[(config, &told(&value), rule)]).await;
    }
    let good = file("good", "0123456789abcdef");
    let (lines, code) = run("check", &format!("{BRIDGE}[admin]\ntoken_file = {good:?}\n"), &[]).await;
    assert_eq!(code, Some(0), "{lines:?}");
    assert!(lines.contains(&format!("token_file = {good:?}")), "{lines:?}");
    assert!(!lines.concat().contains("0123456789abcdef"), "{lines:?}");
}

#[tokio::test]
async fn a_token_that_everyone_may_read_is_warned_of() {
    let dir = TempDir::new();
    let file = dir.path().join("token");
    std::fs::write(&file, TOKEN).unwrap();
    let config = format!("{ECHO}[admin]\nlisten = \"127.0.0.1:0\"\ntoken_file = {file:?}\n");
    for (mode, warnings) in [(0o600, 0), (0o640, 0), (0o644, 1)] {
        set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        let natpulse = Natpulse::launch(&config, |_| {}).await;
        let said = natpulse.logged("everyone on this machine may read admin.token_file");
        assert_eq!(said.len(), warnings, "{mode:o}");
        natpulse.stop().await;
    }
}
