//! Clients, told apart by their addresses.

use tokio::io::AsyncReadExt;

use super::Scene;
use crate::harness::{Natpulse, connect_from};
use crate::process::within;
use crate::raw::upgrade;

#[tokio::test]
async fn denied_addresses_and_those_that_are_not_allowed_are_told_403() {
    let scene = Scene::new("access = { allow = [\"127.0.0.0/29\", \"::1\"], deny = [\"127.0.0.3\"] }").await;
    for (from, expected) in
        [("127.0.0.1", Ok(())), ("127.0.0.7", Ok(())), ("127.0.0.3", Err(403)), ("127.0.0.8", Err(403))]
    {
        assert_eq!(scene.opens(from, &upgrade("/")).await, expected, "{from}");
    }
    scene.counts("address_denied", 2.0).await;
    scene.dialled_nobody_else().await;
}

#[tokio::test]
async fn a_byte_stream_from_a_denied_address_is_closed_before_anything_is_dialled() {
    let scene = Scene::listening("tcp://127.0.0.1:0", "access = { deny = [\"127.0.0.2\"] }").await;
    let addr = scene.natpulse.addr("b");
    let mut denied = connect_from("127.0.0.2", addr).await.unwrap();
    assert_eq!(within("the end", denied.read(&mut [0; 1])).await.unwrap(), 0);
    let allowed = connect_from("127.0.0.1", addr).await.unwrap();
    let (dialled, from) = within("the dial", scene.backend.accept()).await.unwrap();
    assert!(from.ip().is_loopback());
    scene.counts("address_denied", 1.0).await;
    scene.counts("accepted", 1.0).await;
    drop((allowed, dialled));
    scene.dialled_nobody_else().await;
}

#[tokio::test]
async fn the_demo_page_is_not_shown_to_a_denied_address() {
    let natpulse = Natpulse::start(
        "[[bridge]]\nname = \"b\"\nlisten = \"ws://127.0.0.1:0/\"\nbackend = \"echo:\"\ndemo = true\n\
         access = { deny = [\"127.0.0.1\"] }\n",
    )
    .await;
    assert_eq!(crate::harness::http_get(natpulse.addr("b"), "/").await.status, 403);
    natpulse.stop().await;
}
