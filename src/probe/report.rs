//! What `natpulse probe` prints. Lines fit into a terminal of 80 columns.

use std::time::Duration;

use crate::heartbeat::{Bracket, Outcome};

/// The longest line, in columns: a terminal that is written to its last column begins a new line.
pub(super) const COLUMNS: usize = 79;

const BAR: usize = 26;

/// The silences between which the search goes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) min: Duration,
    pub(super) max: Duration,
}

/// How far the search has come: `#` is proven, `x` refuted, and between them is what is not known yet.
pub(super) fn progress(
    bracket: &Bracket,
    range: Range,
    running: usize,
    next: Option<Duration>,
    elapsed: Duration,
) -> String {
    let place = |silence: Duration| {
        let part = (silence.as_secs_f64() / range.min.as_secs_f64()).ln()
            / (range.max.as_secs_f64() / range.min.as_secs_f64()).max(1.001).ln();
        (part.clamp(0.0, 1.0) * BAR as f64).round() as usize
    };
    let proven = place(bracket.proven());
    let refuted = bracket.refuted().map_or(BAR, place).max(proven);
    let bar = format!("{}{}{}", "#".repeat(proven), ".".repeat(refuted - proven), "x".repeat(BAR - refuted));
    let next = next.map_or(String::new(), |next| format!(", next in {:.0} s", next.as_secs_f64().ceil()));
    let line = format!("{} [{bar}] {}; {running} silent{next}", clock(elapsed), found(bracket));
    line.chars().take(COLUMNS).collect()
}

/// What one probe has shown.
pub(super) fn finding(
    silence: Duration,
    outcome: Outcome,
    why: Option<&str>,
    bracket: &Bracket,
    elapsed: Duration,
) -> String {
    let (silence, word) = match outcome {
        Outcome::Survived { silence } => (silence, "kept"),
        Outcome::Lost { silence } => (silence, "lost"),
        Outcome::Unclear => (silence, "unclear"),
    };
    let so_far = why.map_or_else(|| format!("so far: {}", found(bracket)), str::to_owned);
    let line = format!("{:>6} {:>8} s {word:<8} {so_far}", clock(elapsed), seconds(silence));
    line.chars().take(COLUMNS).collect()
}

/// What a person can do with the result.
pub(super) fn conclusion(bracket: &Bracket, range: Range) -> String {
    let (proven, beat) = (bracket.proven(), interval(bracket));
    match bracket.refuted() {
        None => format!(
            "This network keeps a silent connection for {} s at least, which is as long as\n\
             was asked (--max). A beat every {} s is enough.\n",
            seconds(proven),
            seconds(beat),
        ),
        Some(refuted) if proven == Duration::ZERO => format!(
            "This network forgets a silent connection within {} s, and no shorter silence\n\
             was tried. Do so with --min, which is {} s now.\n",
            seconds(refuted),
            seconds(range.min),
        ),
        Some(refuted) => format!(
            "This network forgets a silent connection after {} to {} s.\n\
             Beat every {} s, or let natpulse do it, which finds this out by itself\n\
             where it is at both ends.\n",
            seconds(proven),
            seconds(refuted),
            seconds(beat),
        ),
    }
}

/// The same for a program: one line of JSON.
pub(super) fn json(url: &str, bracket: &Bracket, probes: u32, took: Duration) -> String {
    let refuted = bracket.refuted().map_or("null".to_owned(), |refuted| refuted.as_secs_f64().to_string());
    format!(
        "{{\"url\":{url:?},\"proven_s\":{},\"refuted_s\":{refuted},\"interval_s\":{},\"probes\":{probes},\
         \"took_s\":{:.1}}}\n",
        bracket.proven().as_secs_f64(),
        interval(bracket).as_secs_f64(),
        took.as_secs_f64(),
    )
}

/// How often to beat: what is proven less 4%, and less 3 s where that leaves most of it, as `[heartbeat]` has it.
fn interval(bracket: &Bracket) -> Duration {
    let proven = bracket.proven();
    let margin = (proven / 25).max(Duration::from_secs(3).min(proven / 5));
    let interval = proven - margin;
    // Nobody sets a timer to a fraction of a second where whole ones will do.
    if interval >= Duration::from_secs(10) { Duration::from_secs(interval.as_secs()) } else { interval }
}

fn found(bracket: &Bracket) -> String {
    match bracket.refuted() {
        None if bracket.proven() == Duration::ZERO => "nothing known yet".to_owned(),
        None => format!("{} s or more", seconds(bracket.proven())),
        Some(refuted) => format!("{} to {} s", seconds(bracket.proven()), seconds(refuted)),
    }
}

/// As many digits as mean something.
fn seconds(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    let digits = if seconds < 10.0 { 2 } else { usize::from(seconds < 100.0) };
    let text = format!("{seconds:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn clock(elapsed: Duration) -> String {
    format!("{}:{:02}", elapsed.as_secs() / 60, elapsed.as_secs() % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heartbeat::{Learned, NetworkKey, Networks, Settings, Step};

    const RANGE: Range = Range { min: Duration::from_secs(15), max: Duration::from_secs(600) };

    /// What a network has shown in which silences of `timeout` and more were lost.
    fn measured(timeout: Duration) -> Bracket {
        let mut networks = Networks::new(Settings::default(), 1);
        let peer = "192.0.2.1".parse().unwrap();
        let (seat, _) = networks.join(NetworkKey::named("here"), peer, Duration::from_secs(1));
        let network = networks.network(seat);
        networks.probe(network);
        let mut running = Vec::new();
        loop {
            match networks.probe_step(network, Duration::from_secs(1)) {
                Step::Start { probe, silence } => running.push((silence, probe)),
                Step::Stop(probe) => running.retain(|(_, running)| *running != probe),
                Step::Wait => {
                    running.sort_by_key(|(silence, _)| *silence);
                    let (silence, probe) = running.remove(0);
                    let is_lost = silence >= timeout;
                    let outcome =
                        if is_lost { Outcome::Lost { silence } } else { Outcome::Survived { silence } };
                    let _ = networks.probed(network, probe, outcome, Duration::from_secs(1));
                }
                Step::Rest { .. } => break,
            }
        }
        match networks.learned(network) {
            Learned::Smart(bracket) => *bracket,
            other @ (Learned::Nothing | Learned::Wechat(_)) => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_last_sentence_says_what_to_do() {
        let told = conclusion(&measured(Duration::from_secs(241)), RANGE);
        assert!(told.contains("after 239 to 24"), "{told}");
        assert!(told.contains("Beat every 229 s"), "{told}");
        let told = conclusion(&measured(Duration::from_secs(10_000)), RANGE);
        assert!(told.contains("for 600 s at least") && told.contains("every 576 s"), "{told}");
        let told = conclusion(&measured(Duration::from_secs(1)), RANGE);
        assert!(told.contains("within 15.8 s") && told.contains("--min"), "{told}");
    }

    #[test]
    fn every_line_fits_into_80_columns() {
        for timeout in [1, 33, 241, 10_000] {
            let bracket = measured(Duration::from_secs(timeout));
            let long = Duration::from_secs(100_000);
            let silence = Duration::from_millis(86_399_500);
            let why = "x".repeat(200);
            let mut lines = vec![
                progress(&bracket, RANGE, 64, Some(long), long),
                finding(silence, Outcome::Lost { silence }, None, &bracket, long),
                finding(silence, Outcome::Unclear, Some(&why), &bracket, long),
            ];
            lines.extend(conclusion(&bracket, RANGE).lines().map(str::to_owned));
            for line in lines {
                assert!(line.len() < 80, "{line}");
            }
        }
    }

    #[test]
    fn the_bar_closes_from_both_ends() {
        let bar = |bracket: &Bracket| progress(bracket, RANGE, 8, None, Duration::from_secs(65));
        assert_eq!(bar(&Bracket::default()), "1:05 [..........................] nothing known yet; 8 silent");
        let done = bar(&measured(Duration::from_secs(241)));
        assert!(!done.contains("...") && done.contains("###") && done.contains("xxx"), "{done}");
    }

    #[test]
    fn json_is_one_object_on_one_line() {
        let told =
            json("ws://a/\"b", &measured(Duration::from_secs(241)), 20, Duration::from_millis(900_040));
        assert!(told.starts_with("{\"url\":\"ws://a/\\\"b\",\"proven_s\":2"), "{told}");
        assert!(told.ends_with("\"probes\":20,\"took_s\":900.0}\n"), "{told}");
        assert!(json("x", &Bracket::default(), 0, Duration::ZERO).contains("\"refuted_s\":null"));
    }
}
