//! Which policies and models are compared by default, and how that is printed.

use core::fmt::Write as _;
use core::time::Duration;

use super::{Clients, Contender, Nat, Report, Scenario, run};
use crate::heartbeat::{Settings, Wechat};

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// How long the NATs keep a mapping.
    pub timeout: Duration,
    /// How many connections a network has.
    pub connections: u32,
    /// How long each run lasts.
    pub length: Duration,
    /// The seed of every run.
    pub seed: u64,
}

/// One policy over one model.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The model's name.
    pub model: &'static str,
    /// The policy's name.
    pub policy: &'static str,
    /// What it cost.
    pub report: Report,
}

/// Every policy over every model.
pub fn compare(comparison: &Comparison) -> Vec<Row> {
    let mut rows = Vec::new();
    for (model, nat, clients, restarts) in models(comparison) {
        for (policy, contender) in contenders(comparison.timeout) {
            let scenario = Scenario {
                contender,
                nats: vec![nat.clone()],
                clients: clients.clone(),
                length: comparison.length,
                restarts: restarts.clone(),
                settled_after: comparison.length,
            };
            rows.push(Row { model, policy, report: run(&scenario, comparison.seed) });
        }
    }
    rows
}

fn contenders(timeout: Duration) -> Vec<(&'static str, Contender)> {
    // The operator's limit is no property of a network: it is out of the way, even if the timeout doubles.
    let max = Settings::default().max.max(timeout * 3);
    let seconds = Duration::from_secs;
    vec![
        ("oracle", Contender::Oracle),
        ("smart, natpulse at both ends", Contender::smart(max, true)),
        ("smart", Contender::smart(max, false)),
        ("smart, explore = false", Contender::cautious(max)),
        ("wechat", Contender::wechat(Wechat::default())),
        ("wechat, min = 30s", Contender::wechat(Wechat { min: seconds(30), ..Wechat::default() })),
        ("fixed 25 s", Contender::fixed(seconds(25))),
        ("fixed 60 s", Contender::fixed(seconds(60))),
        ("fixed 180 s", Contender::fixed(seconds(180))),
        ("fixed 240 s", Contender::fixed(seconds(240))),
    ]
}

type Model = (&'static str, Nat, Clients, Vec<Duration>);

fn models(comparison: &Comparison) -> Vec<Model> {
    let plain = Nat::fixed(comparison.timeout);
    let steady = Clients::steady(comparison.connections);
    let half = comparison.length / 2;
    let halves = Nat { change: Some((half, comparison.timeout / 2)), ..plain.clone() };
    let doubles = Nat { change: Some((half, comparison.timeout * 2)), ..plain.clone() };
    let restless = Clients {
        stays: Some(Duration::from_secs(4 * 3600)),
        silent_percent: 50,
        late_percent: 10,
        ..steady.clone()
    };
    vec![
        ("a fixed timeout, refreshed from inside only", plain.clone(), steady.clone(), vec![]),
        ("answers with a reset", Nat { resets: true, ..plain.clone() }, steady.clone(), vec![]),
        ("makes mappings anew from inside", Nat { recreates: true, ..plain.clone() }, steady.clone(), vec![]),
        (
            "forgets up to 60 s late",
            Nat { sweep: Duration::from_secs(60), ..plain.clone() },
            steady.clone(),
            vec![],
        ),
        ("the timeout halves half-way", halves, steady.clone(), vec![]),
        ("the timeout doubles half-way", doubles, steady.clone(), vec![]),
        ("3% of beats are lost", plain.clone(), Clients { loss_permille: 30, ..steady.clone() }, vec![]),
        ("clients leave for reasons of their own", plain.clone(), restless, vec![]),
        ("the server dies half-way", plain.clone(), steady.clone(), vec![half]),
        ("5% of timers fire up to 2 min late", plain, Clients { doze_percent: 5, ..steady }, vec![]),
    ]
}

/// The rows as a table of 92 columns.
pub fn text(comparison: &Comparison, rows: &[Row]) -> String {
    let Comparison { timeout, connections, length, seed } = comparison;
    let mut out = format!(
        "NAT timeout {} s, {connections} connection{} for {:.1} days, seed {seed}\n\
         beats: for each that is needed, probes included. converged: beats within 15% of the best (probes: 10%).\n",
        timeout.as_secs_f64(),
        if *connections == 1 { "" } else { "s" },
        length.as_secs_f64() / 86_400.0,
    );
    let mut model = "";
    for row in rows {
        if row.model != model {
            model = row.model;
            let head = ["beats", "lost", "unreachable", "converged"];
            let [beats, lost, unreachable, converged] = head;
            line(&mut out, &format!("\n{model}"), [beats, lost, unreachable, converged]);
        }
        let total = row.report.total;
        let converged =
            row.report.converged[0].map_or("never".to_owned(), |at| format!("{:.0} s", at.as_secs_f64()));
        let cells = [
            format!("{:.2}", total.total_ratio()),
            total.lost.to_string(),
            format!("{:.0} s", total.unreachable.as_secs_f64()),
            converged,
        ];
        line(&mut out, &format!("  {}", row.policy), cells.each_ref().map(String::as_str));
    }
    out
}

fn line(out: &mut String, name: &str, [beats, lost, unreachable, converged]: [&str; 4]) {
    writeln!(out, "{name:<46}{beats:>8}{lost:>10}{unreachable:>14}{converged:>14}")
        .expect("a String takes everything");
}

/// The rows as a JSON array. No name in them needs escaping.
pub fn json(comparison: &Comparison, rows: &[Row]) -> String {
    let objects: Vec<String> = rows
        .iter()
        .map(|row| {
            let total = row.report.total;
            let converged = row.report.converged[0].map_or("null".to_owned(), |at| format!("{:.3}", at.as_secs_f64()));
            format!(
                "  {{\"policy\": \"{}\", \"model\": \"{}\", \"timeout_s\": {}, \"connections\": {}, \"beats_ratio\": \
                 {:.4}, \"lost\": {}, \"mistaken\": {}, \"unreachable_s\": {:.3}, \"converged_s\": {converged}}}",
                row.policy,
                row.model,
                comparison.timeout.as_secs_f64(),
                comparison.connections,
                total.total_ratio(),
                total.lost,
                total.mistaken,
                total.unreachable.as_secs_f64(),
            )
        })
        .collect();
    format!("[\n{}\n]\n", objects.join(",\n"))
}
