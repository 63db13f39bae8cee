//! A bridge that is given on the command line, as a tree of values like those of a config file.

use super::source::{Node, Origin, Value};

/// What a bridge on the command line is made of: the words of the config file.
#[derive(Clone, Debug, Default)]
pub struct BridgeArguments {
    /// The listen URL.
    pub listen: String,
    /// The backend URL.
    pub backend: String,
    /// The framing of every end that is a byte stream.
    pub framing: Option<String>,
    /// The framing of the listening end, before `framing`.
    pub listen_framing: Option<String>,
    /// The framing of the backend, before `framing`.
    pub backend_framing: Option<String>,
    /// What a record becomes.
    pub message: Option<String>,
    /// The message limit.
    pub max_message: Option<String>,
    /// Subprotocols to choose from.
    pub subprotocols: Vec<String>,
    /// Origins of pages that may connect; only those that the bridge serves itself where there are none.
    pub origins: Vec<String>,
    /// Where the admin port listens.
    pub admin: Option<String>,
    /// The log level.
    pub log_level: Option<String>,
    /// Where targets are listed, in the place of `backend`.
    pub targets: Option<String>,
    /// A directory whose files are served.
    pub web: Option<String>,
    /// The certificate, the key, and whether clients without TLS are let in too.
    pub tls: Option<(String, String, bool)>,
    /// The roots that a backend with TLS is trusted by, in the place of the system's.
    pub ca: Option<String>,
    /// Every how many seconds a silent client is sent a beat.
    pub beat_every: Option<u32>,
}

impl BridgeArguments {
    /// The config with this bridge.
    pub(super) fn tree(&self) -> Node {
        let mut bridge = Vec::new();
        for (key, argument, url, framing) in [
            ("listen", "LISTEN", &self.listen, &self.listen_framing),
            ("backend", "BACKEND", &self.backend, &self.backend_framing),
        ] {
            let mut end = match self.targets.as_ref().filter(|_| key == "backend") {
                Some(targets) => vec![("targets", Node::argument("--token-source", targets))],
                None => vec![("url", Node::argument(argument, url))],
            };
            if let Some(seconds) = self.beat_every.filter(|_| key == "listen") {
                end.push(("heartbeat", beats(seconds)));
            }
            if let Some((cert, key, optional)) = self.tls.as_ref().filter(|_| key == "listen") {
                let optional =
                    Node { value: Value::Boolean(*optional), origin: Origin::Argument("--ssl-only") };
                let (cert, key) = (Node::argument("--cert", cert), Node::argument("--key", key));
                end.push(("tls", Node::table(vec![("cert", cert), ("key", key), ("optional", optional)])));
            }
            if let Some(ca) = self.ca.as_ref().filter(|_| key == "backend") {
                end.push(("tls", Node::table(vec![("ca", Node::argument("--ca", ca))])));
            }
            let is_stream = ["tcp:", "tls:", "unix:"].iter().any(|scheme| url.starts_with(scheme));
            let common = self.framing.as_ref().filter(|_| is_stream);
            if let Some(framing) = framing.as_ref().or(common) {
                end.push(("framing", Node::argument("--framing", framing)));
            }
            bridge.push((key, Node::table(end)));
        }
        bridge.push(("name", Node::argument("LISTEN", "bridge")));
        for (key, argument, text) in [
            ("message", "--message", &self.message),
            ("max_message", "--max-message", &self.max_message),
            ("web", "--web", &self.web),
        ] {
            bridge.extend(text.as_ref().map(|text| (key, Node::argument(argument, text))));
        }
        let origin = Origin::Argument("--subprotocol");
        let words = self.subprotocols.iter().map(|word| Node::argument("--subprotocol", word)).collect();
        bridge.push(("subprotocols", Node { value: Value::Array(words), origin }));
        if !self.origins.is_empty() {
            let origins = self.origins.iter().map(|text| Node::argument("--origin", text)).collect();
            let origins = Node { value: Value::Array(origins), origin: Origin::Argument("--origin") };
            bridge.push(("access", Node::table(vec![("origins", origins)])));
        }
        let bridges = Node { value: Value::Array(vec![Node::table(bridge)]), origin: Origin::Nowhere };
        let mut root = vec![("bridge", bridges)];
        if let Some(admin) = &self.admin {
            root.push(("admin", Node::table(vec![("listen", Node::argument("--admin", admin))])));
        }
        if let Some(level) = &self.log_level {
            root.push(("log", Node::table(vec![("level", Node::argument("--log-level", level))])));
        }
        Node::table(root)
    }
}

/// A beat after so many seconds of silence, whose answer may take as long as it can before the next one is due.
fn beats(seconds: u32) -> Node {
    let word = |text: &str| Node::argument("--heartbeat", text);
    let mut keys = vec![("policy", word("fixed")), ("every", word(&format!("{seconds}s")))];
    if seconds <= DEFAULT_REPLY_SECONDS {
        keys.push(("reply_timeout", word(&format!("{}ms", u64::from(seconds) * 900))));
    }
    Node::table(keys)
}

/// The reply timeout where nothing else is said.
const DEFAULT_REPLY_SECONDS: u32 = 10;
