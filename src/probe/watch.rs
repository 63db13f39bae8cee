//! Probes beside sessions: they serve whoever shares the network.

use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::{Event, Prober};
use crate::heartbeat::{Bracket, Settings};

/// Probes a network until its last session has gone or `drain` is cancelled, and tells the log what is found.
pub async fn watch(mut prober: Prober, bridge: String, drain: CancellationToken) {
    let Some(network) = prober.network() else {
        return;
    };
    info!(bridge, network, "probing");
    loop {
        let event = tokio::select! {
            event = prober.next() => event,
            () = drain.cancelled() => None,
        };
        match event {
            None => break,
            Some(Event::Ended { silence, outcome, why, before, after }) => {
                debug!(bridge, network, silence_s = silence.as_secs_f64(), ?outcome, why, "probed");
                tell(&bridge, &network, prober.settings(), &before, &after);
            }
            Some(Event::Unreachable { why, failures, wait }) => {
                debug!(bridge, network, why, failures, wait_s = wait.as_secs_f32(), "cannot probe");
            }
            Some(Event::Settled) => debug!(bridge, network, "nothing left to probe for now"),
        }
    }
    info!(bridge, network, "no longer probing");
}

/// Says what is known now, where that is more or other than before.
fn tell(bridge: &str, network: &str, settings: &Settings, before: &Bracket, after: &Bracket) {
    if (before.proven(), before.refuted()) == (after.proven(), after.refuted()) {
        return;
    }
    info!(
        bridge,
        network,
        proven_s = after.proven().as_secs_f64(),
        refuted_s = after.refuted().map(|refuted| refuted.as_secs_f64()),
        interval_s = after.in_use(settings).as_secs_f64(),
        is_in_doubt = after.is_in_doubt(),
        "network measured"
    );
}
