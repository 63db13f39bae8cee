//! Clients, told apart by the tokens that they carry: those that are listed, and those that are signed, by Node.

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

use super::{Scene, with};
use crate::harness::Natpulse;
use crate::process::within;
use crate::raw::{RawWs, upgrade};
use crate::tools::{TempDir, output, program, script};

const TOKEN: &str = "open-sesame-0123456789";

/// Keys in a directory, and tokens by their names.
struct Made {
    dir: TempDir,
    tokens: HashMap<String, String>,
    now: u64,
}

impl Made {
    async fn new() -> Made {
        let dir = TempDir::new();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut node = Command::new(program("node"));
        node.arg(script("access/tokens.mjs")).arg(dir.path()).arg(now.to_string());
        let printed = output(Duration::from_secs(60), node).await;
        Made { dir, tokens: serde_json::from_str(&printed).unwrap(), now }
    }

    fn file(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// `access` that asks for signed tokens of our issuer and for us.
    fn access(&self, key: &str, file: &str, algorithms: &str) -> String {
        format!(
            "access = {{ jwt = {{ {key} = \"{}\", algorithms = {algorithms}, issuer = \"issuer\", \
             audience = \"natpulse\", leeway = \"0s\" }} }}",
            self.file(file)
        )
    }
}

/// What comes up to an empty line, in lower case.
async fn head(stream: &mut TcpStream) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head.push(char::from(within("a head", stream.read_u8()).await.unwrap()));
    }
    head.to_lowercase()
}

/// A request for `path` with a token in its Authorization header.
fn bearing(path: &str, token: &str) -> String {
    with(&format!("Authorization: Bearer {token}")).replacen("GET / ", &format!("GET {path} "), 1)
}

#[tokio::test]
async fn only_tokens_that_say_what_they_must_and_are_signed_as_they_must_let_in() {
    let made = Made::new().await;
    let scene = Scene::with(&[
        ("b", "/hs", &made.access("secret_file", "secret", "[\"HS256\"]")),
        ("rs", "/rs", &made.access("key_file", "rsa.pem", "[\"RS256\"]")),
        ("both", "/both", &made.access("key_file", "rsa.pem", "[\"RS256\", \"HS256\"]")),
        ("es", "/es", &made.access("key_file", "ec.pem", "[\"ES256\"]")),
        ("ed", "/ed", &made.access("key_file", "ed.pem", "[\"EdDSA\"]")),
        (
            "set",
            "/set",
            &made.access("jwks_file", "jwks.json", "[\"RS256\", \"ES256\", \"EdDSA\", \"HS256\"]"),
        ),
        ("less", "/less", &made.access("jwks_file", "jwks.json", "[\"EdDSA\"]")),
    ])
    .await;
    let cases = [
        ("/hs", "hs", true),
        ("/rs", "rs", true),
        ("/both", "rs", true),
        ("/es", "es", true),
        ("/ed", "ed", true),
        ("/set", "rs_in_set", true),
        ("/set", "es_in_set", true),
        ("/set", "ed_in_set", true),
        ("/less", "ed_in_set", true),
        // A key that is there, but of an algorithm that is not to be used.
        ("/less", "es_in_set", false),
        ("/set", "es", false),
        ("/set", "wrong_kid", false),
        ("/set", "unknown_kid", false),
        ("/set", "other_in_set", false),
        ("/set", "for_encryption", false),
        ("/set", "none_in_set", false),
        ("/set", "public_as_secret_in_set", false),
        ("/set", "own_key", false),
        ("/both", "public_as_secret", false),
        ("/rs", "public_as_secret", false),
        ("/rs", "none", false),
        ("/rs", "small", false),
        ("/rs", "rs384", false),
        ("/rs", "hs", false),
        ("/rs", "es", false),
        ("/es", "another_signature", false),
        ("/es", "another_key", false),
        ("/hs", "none", false),
        ("/hs", "rs", false),
        ("/hs", "critical", false),
        ("/hs", "expired", false),
        ("/hs", "forever", false),
        ("/hs", "exp_in_words", false),
        ("/hs", "early", false),
        ("/hs", "wrong_issuer", false),
        ("/hs", "no_issuer", false),
        ("/hs", "wrong_audience", false),
        ("/hs", "no_audience", false),
    ];
    let mut wrong = Vec::new();
    for (path, name, is_in) in cases {
        let opened = scene.opens("127.0.0.1", &bearing(path, &made.tokens[name])).await;
        if opened != if is_in { Ok(()) } else { Err(401) } {
            wrong.push((path, name, opened));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
    let denied = cases.iter().filter(|(_, _, is_in)| !is_in).count();
    scene.counts("token_denied", denied as f64).await;
    let lines = scene.natpulse.lines().join("\n");
    assert!(made.tokens.values().all(|token| !lines.contains(token)), "a token in the log");
    scene.dialled_nobody_else().await;
}

/// A bridge that asks for a token of a file, which is in the directory.
async fn listed(more: &str) -> (Scene, TempDir) {
    let dir = TempDir::new();
    let file = dir.path().join("tokens");
    fs::write(&file, format!("# devices\n{TOKEN}\nanother-token-0123456\n")).unwrap();
    let scene = Scene::new(&format!("access = {{ token_file = \"{}\"{more} }}", file.display())).await;
    (scene, dir)
}

#[tokio::test]
async fn a_listed_token_lets_in_from_where_it_may_be_carried() {
    let (scene, _dir) = listed("").await;
    let (open, _dir2) = listed(", cookie = \"sid\", query_token = true").await;
    let in_query = upgrade(&format!("/?access_token={TOKEN}"));
    let everywhere = [
        (with(&format!("Authorization: Bearer {TOKEN}")), Ok(())),
        (with("Authorization: bearer another-token-0123456"), Ok(())),
        (with(&format!("Sec-WebSocket-Protocol: bearer.{TOKEN}")), Ok(())),
        (with("Authorization: Bearer open-sesame-012345678"), Err(401)),
        (with(&format!("Authorization: Bearer {TOKEN}\r\nAuthorization: Bearer {TOKEN}")), Err(401)),
        (with(&format!("Authorization: Basic {TOKEN}")), Err(401)),
        (with("Authorization: Bearer # devices"), Err(401)),
        (upgrade("/"), Err(401)),
    ];
    for (request, expected) in everywhere {
        for scene in [&scene, &open] {
            assert_eq!(scene.opens("127.0.0.1", &request).await, expected, "{request}");
        }
    }
    let cookie = with(&format!("Cookie: theme=dark; sid={TOKEN}"));
    for (request, expected) in [
        (&cookie, Ok(())),
        (&in_query, Ok(())),
        (&with(&format!("Cookie: sid={TOKEN}; sid=x")), Err(401)),
        // What is found first counts.
        (&with(&format!("Authorization: Bearer no-such-token-0123\r\nCookie: sid={TOKEN}")), Err(401)),
    ] {
        assert_eq!(open.opens("127.0.0.1", request).await, expected, "{request}");
    }
    for request in [&cookie, &in_query] {
        assert_eq!(scene.opens("127.0.0.1", request).await, Err(401), "{request}");
    }
    for scene in [scene, open] {
        assert!(!scene.natpulse.lines().join("\n").contains(TOKEN), "a token in the log");
        scene.dialled_nobody_else().await;
    }
}

#[tokio::test]
async fn a_refusal_says_what_is_wanted_and_comes_after_the_others() {
    let (scene, _dir) = listed(", deny = [\"127.0.0.2\"]").await;
    let answer = scene.answer(&upgrade("/")).await;
    assert!(answer.head.contains("\r\nwww-authenticate: bearer\r\n"), "{}", answer.head);
    let answer = scene.answer(&with("Authorization: Bearer no-such-token-0123")).await;
    assert!(
        answer.head.contains("\r\nwww-authenticate: bearer error=\"invalid_token\"\r\n"),
        "{}",
        answer.head
    );
    let foreign = with(&format!("Origin: https://app.example\r\nAuthorization: Bearer {TOKEN}"));
    assert_eq!(scene.opens("127.0.0.1", &foreign).await, Err(403), "a page with a token");
    assert_eq!(scene.opens("127.0.0.2", &bearing("/", TOKEN)).await, Err(403), "an address with a token");
    scene.dialled_nobody_else().await;
}

#[tokio::test]
async fn a_token_among_the_subprotocols_is_told_to_nobody() {
    let (scene, _dir) = listed("").await;
    for (offered, chosen) in [
        (format!("bearer.{TOKEN}"), None),
        (format!("bearer.{TOKEN}, mqtt"), None),
        (format!("bearer, bearer.{TOKEN}"), Some("bearer")),
    ] {
        let request = with(&format!("Sec-WebSocket-Protocol: {offered}"));
        let mut stream = TcpStream::connect(scene.natpulse.addr("b")).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let (dialled, _) = within("the dial", scene.backend.accept()).await.unwrap();
        let head = head(&mut stream).await;
        drop((stream, dialled));
        assert!(head.starts_with("http/1.1 101 ") && !head.contains(TOKEN), "{head}");
        let said = head.lines().find_map(|line| line.strip_prefix("sec-websocket-protocol: "));
        assert_eq!(said, chosen, "{offered}");
    }
    scene.dialled_nobody_else().await;

    // A WebSocket backend is asked for the rest only.
    let backend = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dir = TempDir::new();
    let file = dir.path().join("tokens");
    fs::write(&file, TOKEN).unwrap();
    let natpulse = Natpulse::start(&format!(
        "[[bridge]]\nname = \"b\"\nlisten = \"ws://127.0.0.1:0/\"\nbackend = \"ws://{}/\"\n\
         access = {{ token_file = \"{}\" }}\n",
        backend.local_addr().unwrap(),
        file.display()
    ))
    .await;
    let lines = format!("Sec-WebSocket-Protocol: mqtt, bearer, bearer.{TOKEN}\r\nCookie: a={TOKEN}");
    let mut client = TcpStream::connect(natpulse.addr("b")).await.unwrap();
    client.write_all(with(&lines).as_bytes()).await.unwrap();
    let (mut dialled, _) = within("the dial", backend.accept()).await.unwrap();
    let asked = head(&mut dialled).await;
    assert!(asked.contains("sec-websocket-protocol: mqtt\r\n") && !asked.contains(TOKEN), "{asked}");
    drop((client, dialled));
    natpulse.stop().await;
}

#[tokio::test]
async fn a_session_ends_when_its_token_does() {
    let made = Made::new().await;
    let scene = Scene::with(&[("b", "/", &made.access("secret_file", "secret", "[\"HS256\"]"))]).await;
    let mut client = TcpStream::connect(scene.natpulse.addr("b")).await.unwrap();
    let request = bearing("/", &made.tokens["soon"]);
    client.write_all(request.as_bytes()).await.unwrap();
    let (mut dialled, _) = within("the dial", scene.backend.accept()).await.unwrap();
    assert!(head(&mut client).await.starts_with("http/1.1 101 "));
    let mut client = RawWs { io: tokio::io::BufReader::new(client) };
    let close = within("the end", client.frame()).await.unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert_eq!((close.close_code(), &close.payload[2..]), (1008, &b"the token has expired"[..]));
    assert!(now >= made.now + 6, "{} s too early", made.now + 6 - now);
    assert_eq!(within("the backend's end", dialled.read(&mut [0; 1])).await.unwrap(), 0);
    drop((client, dialled));
    assert_eq!(scene.natpulse.closed_sessions(1).await[0]["reason"], "token_expired");
    scene.dialled_nobody_else().await;
}

#[tokio::test]
async fn files_are_read_again_when_they_change() {
    let made = Made::new().await;
    let (tokens, set) = (made.dir.path().join("tokens"), made.dir.path().join("jwks.json"));
    fs::write(&tokens, TOKEN).unwrap();
    let listed = format!("access = {{ token_file = \"{}\" }}", tokens.display());
    let scene = Scene::with(&[
        ("b", "/", &listed),
        ("set", "/set", &made.access("jwks_file", "jwks.json", "[\"ES256\"]")),
    ])
    .await;
    let opens = async |path: &str, token: &str| scene.opens("127.0.0.1", &bearing(path, token)).await.is_ok();
    let (old, new) = (&made.tokens["es_in_set"], &made.tokens["other_in_set"]);
    assert!(opens("/", TOKEN).await && opens("/set", old).await && !opens("/set", new).await);

    fs::write(&tokens, "another-token-0123456\n").unwrap();
    // As tools do it that never leave half a file.
    fs::rename(made.dir.path().join("other.json"), &set).unwrap();
    within("the new ones to be known", async {
        while !opens("/", "another-token-0123456").await || !opens("/set", new).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert!(!opens("/", TOKEN).await && !opens("/set", old).await);

    fs::write(&set, "{").unwrap();
    fs::remove_file(&tokens).unwrap();
    for file in ["jwks.json: must be", "tokens: must be"] {
        let told = |event: &serde_json::Value| event["error"].as_str().unwrap().contains(file);
        scene.natpulse.event("cannot use the new files; going on with the old ones", told).await;
    }
    assert!(opens("/", "another-token-0123456").await && opens("/set", new).await);
    scene.dialled_nobody_else().await;
}
