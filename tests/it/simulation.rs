//! The heartbeat in virtual time: what it promises, over models of NATs. Every test prints its seed, and a run with the
//! same seed is the same run.
//!
//! The operator's limit is out of the way (`max` is above every timeout), because these promises are about what is
//! learned. Everything runs with the jitter and the margin of the defaults.

mod baselines;
mod exploring;
mod probing;
mod trouble;

use core::time::Duration;

use natpulse::simulate::{Clients, Contender, Loss, Nat, Report, Scenario, run};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Above every timeout that is simulated.
const MAX: Duration = Duration::from_secs(20_000);

/// The numbers that middleboxes are really set to, as far as anybody would be reached through them: seconds.
const TABLE: [f64; 16] = [
    30.0, 55.0, 60.0, 100.0, 150.0, 180.0, 240.0, 270.0, 300.0, 350.0, 600.0, 900.0, 1200.0, 1800.0, 3600.0,
    7440.0,
];

/// The shortest and the longest fixed timeout: the spread measured in the literature, in seconds.
const SHORTEST: f64 = 30.0;
const LONGEST: f64 = 7440.0;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// Timeouts drawn log-uniformly from the measured spread, and those of the table.
fn timeouts(seed: u64, draws: usize) -> Vec<f64> {
    let mut rng = StdRng::seed_from_u64(seed);
    let drawn = (0..draws).map(|_| SHORTEST * (LONGEST / SHORTEST).powf(rng.random_range(0.0..1.0)));
    TABLE.into_iter().chain(drawn).collect()
}

/// One network for as long as it takes, with what happens after `settled_after` counted apart.
fn simulate(
    contender: Contender,
    nat: Nat,
    clients: Clients,
    length: Duration,
    settled_after: Duration,
) -> Report {
    let scenario =
        Scenario { contender, nats: vec![nat], clients, length, restarts: Vec::new(), settled_after };
    run(&scenario, SEED)
}

/// The seed of single runs.
const SEED: u64 = 20_261_121;

/// How many beats for each that is needed are good enough at a constant timeout, once probes have found it.
fn good_enough(timeout_s: f64) -> f64 {
    if timeout_s < 100.0 { 1.15 } else { 1.10 }
}

/// A plain NAT and those that differ in what they do to packets, all with the same timeout.
fn kinds(timeout_s: f64) -> [(&'static str, Nat); 4] {
    let plain = Nat::fixed(seconds(timeout_s));
    [
        ("refreshed from inside only", plain.clone()),
        ("refreshed from both sides", Nat { refreshes_inbound: true, ..plain.clone() }),
        ("answers with a reset", Nat { resets: true, ..plain.clone() }),
        ("makes mappings anew", Nat { recreates: true, ..plain }),
    ]
}

/// Connections lost although the NAT still kept them when the others had been woken.
fn later_losses(report: &Report, at: Duration) -> usize {
    let losses: Vec<&Loss> = report.losses[0].iter().filter(|loss| loss.found >= at).collect();
    // The client that explains the first loss is back within 20 s.
    let Some(woken) = losses.first().map(|loss| loss.found + Duration::from_secs(20)) else {
        return 0;
    };
    losses.iter().filter(|loss| loss.forgotten > woken).count()
}
