//! What was learned about networks outlives the process.

use std::fs;
use std::time::Duration;

use crate::harness::Natpulse;
use crate::process::{within, within_time};
use crate::raw::{FIN, PONG, RawWs};
use crate::tools::TempDir;

async fn start(dir: &TempDir) -> Natpulse {
    Natpulse::start(&format!(
        "[[bridge]]\nname = \"b\"\nlisten = \"ws://127.0.0.1:0/\"\nbackend = \"echo:\"\n\
         [networks]\ndirectory = {:?}\n\
         [heartbeat]\nmin = \"1s\"\nreply_timeout = \"900ms\"\nmargin_min = \"10ms\"\n",
        dir.path()
    ))
    .await
}

#[tokio::test]
async fn what_was_learned_is_there_after_a_restart_unless_its_file_is_torn() {
    let dir = TempDir::new();
    let file = dir.path().join("b.clients");
    let natpulse = start(&dir).await;
    assert!(natpulse.logged("networks known from an earlier run").iter().all(|event| event["networks"] == 0));
    let mut client = RawWs::open(natpulse.addr("b"), "/").await.unwrap();
    for _ in 0..5 {
        let ping = within("a beat", client.frame()).await.unwrap();
        client.send(FIN | PONG, &ping.payload).await.unwrap();
    }
    client.leave().await;
    within_time(Duration::from_secs(10), "the end", natpulse.stop()).await;
    let kept = fs::read_to_string(&file).unwrap();
    assert!(kept.starts_with("natpulse networks 2\n") && kept.contains("127.0.0.0/24"), "{kept}");

    let natpulse = start(&dir).await;
    let known = natpulse.logged("networks known from an earlier run");
    assert!(known.iter().any(|event| event["networks"] == 1), "{known:?}");
    natpulse.stop().await;

    fs::write(&file, &kept[..kept.len() - 20]).unwrap();
    let natpulse = start(&dir).await;
    let ignored = natpulse.logged("what an earlier run learned about networks is ignored");
    assert_eq!(ignored.len(), 1);
    assert!(ignored[0]["error"].as_str().unwrap().contains("checksum"), "{ignored:?}");
    let client = RawWs::open(natpulse.addr("b"), "/").await.unwrap();
    client.leave().await;
    natpulse.stop().await;
    assert!(fs::read_to_string(&file).unwrap().starts_with("natpulse networks 2\n"), "it is whole again");
}
