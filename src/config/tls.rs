//! `tls` of an end. The files are read once to see that they are of use, so that what is wrong with them is told like
//! anything else that is wrong.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::reader::Reader;
use super::source::Node;
use super::write::quoted;
use super::{Bridge, ConfigError, Origin};
use crate::link::ListenUrl;
use crate::link::tls::{Acceptor, ClientTls, Connector, ServerTls, TlsError};

const PATH_RULE: &str = "the path of a file";
const NAMES_RULE: &str = "a list of names such as [\"device-1\", \"*.dev.example\"]";
const LISTEN_RULE: &str = "a table with cert and key, because of wss: or tls:";
const NO_TLS_RULE: &str = "left out, because the URL is not one with TLS";

/// Reads the table of a listener; `None` where there is none, or something is wrong.
pub(super) fn read_listen(
    path: &str,
    node: Option<Node>,
    (url, origin): (&ListenUrl, Origin),
    errors: &mut Vec<ConfigError>,
) -> Option<ServerTls> {
    let Some(node) = node else {
        if url.is_tls() {
            let (key, rule) = (format!("{path}.tls"), LISTEN_RULE.to_owned());
            errors.push(ConfigError { origin, key, value: None, rule });
        }
        return None;
    };
    if !url.is_tls() {
        errors.push(no_tls(path, &node));
        return None;
    }
    let mut reader = Reader::new(&format!("{path}.tls"), node, errors);
    let cert = reader.take("cert");
    let key = reader.take("key");
    let client_ca = reader.take("client_ca");
    let names = reader.take("client_names");
    let optional = reader.take("optional");
    let found = reader.errors.len();
    let named = [&cert, &key].map(|node| node.as_ref().map(file));
    for (key, named) in ["cert", "key"].into_iter().zip(&named) {
        if named.is_none() {
            reader.missing(key, PATH_RULE);
        }
    }
    let listed = names.as_ref().map(texts);
    let switched = optional.as_ref().map(|node| node.value.as_boolean());
    let rules = [
        ("cert", &cert, PATH_RULE, named[0] == Some(None)),
        ("key", &key, PATH_RULE, named[1] == Some(None)),
        ("client_ca", &client_ca, PATH_RULE, client_ca.as_ref().is_some_and(|node| file(node).is_none())),
        ("client_names", &names, NAMES_RULE, listed == Some(None)),
        (
            "client_names",
            &names,
            "left out without client_ca, because nobody would verify them",
            listed.is_some() && client_ca.is_none(),
        ),
        ("optional", &optional, "true or false", switched == Some(None)),
        (
            "optional",
            &optional,
            "false where client_ca asks for certificates, and on tls:, whose plain clients may wait for the first word",
            switched == Some(Some(true)) && (client_ca.is_some() || !matches!(url, ListenUrl::Ws { .. })),
        ),
    ];
    for (key, node, rule, is_broken) in rules {
        if let Some(node) = node.as_ref().filter(|_| is_broken) {
            reader.wrong(key, node, rule);
        }
    }
    let is_clean = reader.errors.len() == found;
    let tls = ServerTls {
        cert: cert.as_ref().and_then(file).unwrap_or_default(),
        key: key.as_ref().and_then(file).unwrap_or_default(),
        client_ca: client_ca.as_ref().and_then(file),
        client_names: listed.flatten().unwrap_or_default(),
        optional: switched.flatten().unwrap_or_default(),
    };
    if is_clean && let Err(TlsError { key: wrong, rule }) = Acceptor::new(&tls, None) {
        let nodes = [("cert", &cert), ("key", &key), ("client_ca", &client_ca)];
        report(&mut reader, &nodes, wrong, &rule);
    }
    reader.finish();
    Some(tls)
}

/// Reads the table of whoever is dialled at `host`; `None` where that is spoken to without TLS.
pub(super) fn read_backend(
    path: &str,
    node: Option<Node>,
    host: Option<&str>,
    errors: &mut Vec<ConfigError>,
) -> Option<ClientTls> {
    let Some(host) = host else {
        errors.extend(node.map(|node| no_tls(path, &node)));
        return None;
    };
    let mut reader = Reader::new(&format!("{path}.tls"), node.unwrap_or_else(empty), errors);
    let ca = reader.take("ca");
    let server_name = reader.take("server_name");
    let cert = reader.take("cert");
    let key = reader.take("key");
    let skip = reader.take("insecure_skip_verify");
    let found = reader.errors.len();
    let skips = skip.as_ref().map(|node| node.value.as_boolean());
    let is_no_file = |node: &Option<Node>| node.as_ref().is_some_and(|node| file(node).is_none());
    let is_no_text = |node: &Option<Node>| node.as_ref().is_some_and(|node| node.value.as_str().is_none());
    let rules = [
        ("ca", &ca, PATH_RULE, is_no_file(&ca)),
        ("server_name", &server_name, "a host name or an address", is_no_text(&server_name)),
        ("cert", &cert, PATH_RULE, is_no_file(&cert)),
        ("key", &key, PATH_RULE, is_no_file(&key)),
        ("cert", &cert, "left out without key", cert.is_some() && key.is_none()),
        ("key", &key, "left out without cert", key.is_some() && cert.is_none()),
        ("insecure_skip_verify", &skip, "true or false", skips == Some(None)),
        (
            "insecure_skip_verify",
            &skip,
            "false where ca names whom to believe",
            skips == Some(Some(true)) && ca.is_some(),
        ),
    ];
    for (key, node, rule, is_broken) in rules {
        if let Some(node) = node.as_ref().filter(|_| is_broken) {
            reader.wrong(key, node, rule);
        }
    }
    let is_clean = reader.errors.len() == found;
    let tls = ClientTls {
        ca: ca.as_ref().and_then(file),
        server_name: server_name.as_ref().and_then(|node| node.value.as_str().map(str::to_owned)),
        cert: cert.as_ref().and_then(file),
        key: key.as_ref().and_then(file),
        insecure_skip_verify: skips.flatten().unwrap_or_default(),
    };
    if is_clean && let Err(TlsError { key: wrong, rule }) = Connector::new(&tls, host, None) {
        let nodes = [("ca", &ca), ("server_name", &server_name), ("cert", &cert), ("key", &key)];
        report(&mut reader, &nodes, wrong, &rule);
    }
    reader.finish();
    Some(tls)
}

fn empty() -> Node {
    Node::table(Vec::new())
}

fn file(node: &Node) -> Option<PathBuf> {
    node.value.as_str().filter(|path| !path.is_empty()).map(PathBuf::from)
}

fn texts(node: &Node) -> Option<Vec<String>> {
    let nodes = node.value.as_array()?.iter();
    let text = |node: &Node| node.value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    nodes.map(text).collect()
}

fn report(reader: &mut Reader<'_>, nodes: &[(&'static str, &Option<Node>)], wrong: &'static str, rule: &str) {
    match nodes.iter().find(|(key, _)| *key == wrong).and_then(|(_, node)| node.as_ref()) {
        Some(node) => reader.wrong(wrong, node, rule),
        None => reader.missing(wrong, rule),
    }
}

fn no_tls(path: &str, node: &Node) -> ConfigError {
    let (origin, key) = (node.origin.clone(), format!("{path}.tls"));
    ConfigError { origin, key, value: Some(node.to_string()), rule: NO_TLS_RULE.into() }
}

/// What an operator should know about the TLS of a bridge.
pub(super) fn warnings(bridge: &Bridge) -> Vec<String> {
    let mut warnings = Vec::new();
    if bridge.backend.tls.as_ref().is_some_and(|tls| tls.insecure_skip_verify) {
        warnings.push(format!(
            "backend.tls.insecure_skip_verify = true: anyone between natpulse and {} can read and \
             change everything",
            bridge.backend.whom
        ));
    }
    let listen = bridge.listen.tls.as_ref().map(|tls| ("listen", &tls.key));
    let backend = bridge.backend.tls.as_ref().and_then(|tls| Some(("backend", tls.key.as_ref()?)));
    for (end, key) in listen.into_iter().chain(backend) {
        if crate::link::tls::is_exposed(key) {
            warnings.push(format!("everyone on this machine may read {end}.tls.key, {}", key.display()));
        }
    }
    warnings
}

/// The table of a listener, to stand behind others of its end.
pub(super) fn write_listen(tls: &ServerTls) -> String {
    let mut text =
        format!(", tls = {{ cert = {}, key = {}", quoted(&tls.cert.display()), quoted(&tls.key.display()));
    // Writing to a string cannot fail.
    if let Some(file) = &tls.client_ca {
        let _ = write!(text, ", client_ca = {}", quoted(&file.display()));
    }
    if !tls.client_names.is_empty() {
        let names: Vec<_> = tls.client_names.iter().map(quoted).collect();
        let _ = write!(text, ", client_names = [{}]", names.join(", "));
    }
    text + if tls.optional { ", optional = true }" } else { " }" }
}

/// The table of a backend, to stand behind others of its end.
pub(super) fn write_backend(tls: &ClientTls) -> String {
    let table = write_client(tls);
    if table.is_empty() { table } else { format!(", tls = {table}") }
}

/// The table of whoever is dialled; nothing where there is nothing to say.
pub(super) fn write_client(tls: &ClientTls) -> String {
    let files = [("ca", &tls.ca), ("cert", &tls.cert), ("key", &tls.key)];
    let files =
        files.iter().filter_map(|(key, file)| Some(format!("{key} = {}", quoted(&file.as_ref()?.display()))));
    let name = tls.server_name.iter().map(|name| format!("server_name = {}", quoted(name)));
    let skip = tls.insecure_skip_verify.then(|| "insecure_skip_verify = true".to_owned());
    let entries: Vec<_> = files.chain(name).chain(skip).collect();
    match entries.is_empty() {
        true => String::new(),
        false => format!("{{ {} }}", entries.join(", ")),
    }
}
