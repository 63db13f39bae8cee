//! The webhook: whatever becomes of its receiver, events arrive once and in order, and sessions do not notice.

mod config;
mod delivery;
mod drain;
mod receiver;
mod request;

use std::time::Duration;

use crate::harness::Natpulse;
use crate::process::within_time;

/// The longest pause between two attempts, and what a loaded machine may add.
const PATIENCE: Duration = Duration::from_secs(90);

/// A bridge to the echo service whose clients are not beaten.
const ECHO: &str = "[[bridge]]\nname = \"echo\"\nbackend = \"echo:\"\n\
                    listen = { url = \"ws://127.0.0.1:0/\", heartbeat = \"off\" }\n";

/// Waits until a series has this value or more.
async fn reaches(natpulse: &Natpulse, series: &str, value: f64) {
    within_time(PATIENCE, &format!("{series} at {value}"), async {
        while natpulse.metrics().await[series] < value {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

const QUEUED: &str = "natpulse_events_queued";
const DROPPED: &str = "natpulse_events_total{outcome=\"dropped\"}";
const DELIVERED: &str = "natpulse_events_total{outcome=\"delivered\"}";
const REFUSED: &str = "natpulse_webhook_requests_total{result=\"refused\"}";
const FAILED: &str = "natpulse_webhook_requests_total{result=\"failed\"}";
