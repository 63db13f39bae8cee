//! The admin port for people and their programs: what is told of sessions that are really there, who is told, and
//! closing one.

mod access;
mod closing;
mod deaths;
mod lists;
mod live;

use serde_json::Value;

use crate::harness::{Natpulse, Page, http};
use crate::process::within;

/// The answer to a request with these lines in its head, each ended by CR LF.
async fn ask(natpulse: &Natpulse, method: &str, path: &str, lines: &str) -> Page {
    let request = format!("{method} {path} HTTP/1.1\r\n{lines}Connection: close\r\n\r\n");
    http(natpulse.admin(), &request).await
}

/// The answer to a request that names this machine.
async fn local(natpulse: &Natpulse, method: &str, path: &str) -> Page {
    ask(natpulse, method, path, "Host: localhost\r\n").await
}

/// What a path tells, which is JSON.
pub async fn get(natpulse: &Natpulse, path: &str) -> Value {
    let page = local(natpulse, "GET", path).await;
    assert_eq!(page.status, 200, "{path}: {}", page.body);
    assert!(page.head.contains("\r\ncontent-type: application/json\r\n"), "{}", page.head);
    serde_json::from_str(&page.body).unwrap()
}

/// The same, once it is as it should be.
async fn once(natpulse: &Natpulse, path: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let asking = async {
        loop {
            let told = get(natpulse, path).await;
            if holds(&told) {
                return told;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    within(path, asking).await
}

/// The items of a list.
fn items(list: &Value) -> &[Value] {
    list["items"].as_array().unwrap()
}

/// What is said to be wrong.
fn error(page: &Page) -> String {
    let body: Value = serde_json::from_str(&page.body).unwrap_or_else(|_| panic!("no JSON: {}", page.body));
    body["error"].as_str().unwrap().to_owned()
}
