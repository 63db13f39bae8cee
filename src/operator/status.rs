//! How a natpulse is, in a few lines.

use hyper::Method;
use serde::Deserialize;

use super::figures::{clean, count, duration};
use super::{Client, Told, sessions};

/// As many bridges have a line of their own.
const BRIDGES: usize = 20;

#[derive(Debug, Deserialize)]
struct Bridges {
    total: u64,
    items: Vec<Bridge>,
}

#[derive(Debug, Deserialize)]
struct Bridge {
    name: String,
    listen: String,
    backend: String,
    active: u64,
}

/// A short summary for people, or with `is_json` what `/api/status` says; and whether it is leaving.
///
/// # Errors
/// Why there is none, for a person to read.
pub async fn status(mut client: Client, is_json: bool) -> Result<(String, bool), String> {
    let body = client.text(Method::GET, "/api/status").await.map_err(|failure| failure.to_string())?;
    let strange = |error| format!("{} is no natpulse that speaks with this one: {error}", client.url());
    let told: Told = serde_json::from_slice(&body).map_err(strange)?;
    let is_leaving = told.drain.is_some();
    if is_json {
        return Ok((format!("{}\n", String::from_utf8_lossy(&body)), is_leaving));
    }
    let bridges: Bridges = client.get(&format!("/api/bridges?limit={BRIDGES}")).await?;
    Ok((text(&told, &bridges, &client.url()), is_leaving))
}

/// Whether a natpulse is alive, in a line.
///
/// # Errors
/// It does not answer, for a person to read.
pub async fn alive(mut client: Client) -> Result<String, String> {
    let answered = client.text(Method::GET, "/healthz").await;
    answered.map(|_| "alive\n".to_owned()).map_err(|failure| failure.to_string())
}

fn text(told: &Told, bridges: &Bridges, url: &str) -> String {
    let state = match &told.drain {
        None => "ready".to_owned(),
        Some(leaving) if leaving.is_over => "drained".to_owned(),
        Some(leaving) => format!("draining, for {} at most", duration(leaving.deadline - told.now)),
    };
    let (version, up) = (clean(&told.version), duration(told.now - told.started));
    let (open, most) = (sessions(told.sessions.active), count(told.sessions.limit));
    let mut text = format!("natpulse {version} at {}: {state}, up {up}\n", clean(url));
    text += &format!("{open} of {most}, {} since it started\n", count(told.sessions.opened));
    text += &format!("{} {}\n", count(bridges.total), if bridges.total == 1 { "bridge" } else { "bridges" });
    for Bridge { name, listen, backend, active } in &bridges.items {
        let [name, listen, backend] = [name, listen, backend].map(|name| clean(name));
        text += &format!("  {name}: {listen} to {backend}, {}\n", sessions(*active));
    }
    let rest = bridges.total.saturating_sub(bridges.items.len() as u64);
    if rest > 0 {
        text += &format!("  and {} more\n", count(rest));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(drain: serde_json::Value) -> Told {
        let sessions = json!({"active": 1, "opened": 1203, "closed": 1202, "limit": 9840});
        let told = json!({"version": "0.1.0", "started": 100.0, "now": 160.5, "is_draining": false, "drain": drain,
                          "sessions": sessions});
        serde_json::from_value(told).unwrap()
    }

    #[test]
    fn it_is_said_in_a_few_lines() {
        let bridge =
            json!({"name": "im\u{1b}[2J", "listen": "ws://[::1]:1/", "backend": "echo:", "active": 0});
        let bridges = serde_json::from_value(json!({"total": 30, "items": [bridge]})).unwrap();
        let told_of = |drain| text(&told(drain), &bridges, "http://[::1]:9464");
        let ready = told_of(json!(null));
        assert_eq!(
            ready,
            "natpulse 0.1.0 at http://[::1]:9464: ready, up 60 s\n1 session of 9,840, 1,203 since it started\n\
             30 bridges\n  im\u{fffd}[2J: ws://[::1]:1/ to echo:, 0 sessions\n  and 29 more\n"
        );
        let leaving = told_of(json!({"begun": 150.0, "closing": 155.0, "deadline": 175.5, "is_over": false}));
        assert!(
            leaving.starts_with("natpulse 0.1.0 at http://[::1]:9464: draining, for 15 s at most, up 60 s\n")
        );
        let over = told_of(json!({"begun": 150.0, "closing": 155.0, "deadline": 175.5, "is_over": true}));
        assert!(over.starts_with("natpulse 0.1.0 at http://[::1]:9464: drained, up 60 s\n"), "{over}");
    }
}
