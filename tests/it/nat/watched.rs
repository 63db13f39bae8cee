//! natpulse as a real Prometheus sees it, while everything happens to it that there is a metric for.

mod misdeeds;
mod strangers;

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::Value;
use tokio::io::AsyncWriteExt;

use super::network::{Nat, SERVER};
use super::plain::Clients;
use crate::harness::{Natpulse, exchange};
use crate::process::{Process, within, within_time};
use crate::raw::{BINARY, FIN, RawWs, frame};
use crate::tools::{TempDir, program};
use misdeeds::{EVENTS, SESSIONS, Stage, TOKEN};
use strangers::Doorkeeper;

const FORGETS_AFTER: Duration = Duration::from_secs(6);
/// How long anything may take that waits for a network to be learned, or for somebody to be asked again.
const LONG: Duration = Duration::from_secs(240);
/// The reason for which sessions end in a drain only.
const DRAINED: &str = "\"drained\"";
/// Where Prometheus and the other natpulse listen: in a network of their own, where every port is free.
const PROMETHEUS: SocketAddr = local(9090);
const PEER: SocketAddr = local(8081);

const fn local(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

const DASHBOARDS: [&str; 3] = [
    include_str!("../../../dashboards/overview.json"),
    include_str!("../../../dashboards/keepalive.json"),
    include_str!("../../../dashboards/process.json"),
];

/// A Prometheus beside the device, behind the NAT, that scrapes what it is told to once a second, with the alerts that
/// come with natpulse.
struct Prometheus<'a> {
    nat: &'a Nat,
    _process: Process,
    _dir: TempDir,
}

impl Prometheus<'_> {
    async fn start<'a>(nat: &'a Nat, watched: [&Natpulse; 2]) -> Prometheus<'a> {
        let dir = TempDir::new();
        let file = dir.path().join("prometheus.yml");
        let alerts = concat!(env!("CARGO_MANIFEST_DIR"), "/dashboards/alerts.yml");
        let config = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [{alerts:?}]\n\
             scrape_configs: [{{ job_name: natpulse, static_configs: [{{ targets: {:?} }}] }}]\n",
            watched.map(|natpulse| natpulse.admin().to_string())
        );
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new(program("prometheus"));
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()));
        command.arg(format!("--web.listen-address={PROMETHEUS}"));
        let process = nat.device.enter(|| Process::spawn(command));
        process
            .wait_line("that it is ready", |line| {
                line.contains("ready to receive web requests").then_some(())
            })
            .await;
        Prometheus { nat, _process: process, _dir: dir }
    }

    async fn get(&self, path: &str) -> Value {
        let request = format!("GET {path} HTTP/1.0\r\nHost: {PROMETHEUS}\r\n\r\n");
        let page = exchange(self.nat.device.connect(PROMETHEUS), &request).await;
        assert_eq!(page.status, 200, "{path}: {}", page.body);
        let mut answer: Value = serde_json::from_str(&page.body).unwrap();
        assert_eq!(answer["status"], "success", "{path}: {}", page.body);
        answer["data"].take()
    }

    /// What an expression is now: a number for each series that has one.
    async fn query(&self, expression: &str) -> Vec<f64> {
        let encoded: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let data = self.get(&format!("/api/v1/query?query={encoded}")).await;
        let number = |series: &Value| series["value"][1].as_str().unwrap().parse::<f64>().unwrap();
        let numbers: Vec<f64> = data["result"].as_array().unwrap().iter().map(number).collect();
        numbers.into_iter().filter(|number| !number.is_nan()).collect()
    }

    /// The series of these families that nobody has seen above zero, without the labels that tell bridges and sizes apart.
    async fn unmoved(&self, families: &[String]) -> Vec<String> {
        let mut unmoved = Vec::new();
        for family in families.iter().flat_map(|family| [family.clone(), format!("{family}_count")]) {
            let moved = format!("max without (bridge, instance, job, le) (max_over_time({family}[30m]))");
            let encoded: String = moved.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let data = self.get(&format!("/api/v1/query?query={encoded}")).await;
            let still = |series: &&Value| series["value"][1].as_str().unwrap().parse::<f64>().unwrap() <= 0.0;
            let series = data["result"].as_array().unwrap().iter().filter(still);
            unmoved.extend(series.map(|series| format!("{family}{}", series["metric"])));
        }
        unmoved
    }

    /// Waits until an expression is more than nothing.
    async fn sees(&self, expression: &str) {
        let seen = async {
            while !self.query(expression).await.iter().any(|number| *number > 0.0) {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        within_time(LONG, &format!("Prometheus to see {expression}"), seen).await;
    }
}

/// Every panel's title and expressions, with its variables filled in.
fn panels() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for text in DASHBOARDS {
        let dashboard: Value = serde_json::from_str(text).unwrap();
        let mut waiting: Vec<Value> = dashboard["panels"].as_array().unwrap().clone();
        while let Some(panel) = waiting.pop() {
            waiting.extend(panel["panels"].as_array().into_iter().flatten().cloned());
            for target in panel["targets"].as_array().into_iter().flatten() {
                let mut expression = target["expr"].as_str().unwrap().to_owned();
                for (variable, value) in [
                    ("$__rate_interval", "5m"),
                    ("$__range", "5m"),
                    ("$job", "natpulse"),
                    ("$instance", ".+"),
                    ("$bridge", ".+"),
                ] {
                    expression = expression.replace(variable, value);
                }
                assert!(!expression.contains('$'), "a variable that is not known: {expression}");
                found.push((panel["title"].as_str().unwrap().to_owned(), expression));
            }
        }
    }
    found
}

async fn start(nat: &Nat, token_file: &str, doorkeeper: &Doorkeeper) -> Natpulse {
    let config = format!(
        r#"
        [server]
        drain_window = "12s"
        handshake_timeout = "1s"
        max_sessions = {SESSIONS}
        [[bridge]]
        name = "im"
        listen = "ws://{SERVER}:0/"
        backend = "echo:"
        max_message = "64MiB"
        [[bridge]]
        name = "device"
        listen = {{ url = "tcp://127.0.0.1:0", framing = "u32be" }}
        backend = "ws://{PEER}/"
        [[bridge]]
        name = "gone"
        listen = "ws://127.0.0.1:0/"
        backend = {{ url = "tcp://127.0.0.1:1", framing = "u32be" }}
        [heartbeat]
        min = "2s"
        max = "30s"
        margin_min = "200ms"
        reply_timeout = "900ms"
        [admin]
        listen = "{SERVER}:0"
        token_file = "{token_file}"
        [events]
        webhook = "http://{EVENTS}/"
        queue = 3
        "#
    );
    Natpulse::start_in(&nat.server, &(misdeeds::bridges() + &config + &doorkeeper.config())).await
}

/// Another natpulse on the device's side of the NAT.
async fn device(nat: &Nat, server: &Natpulse) -> Natpulse {
    let config = format!(
        r#"
        [[bridge]]
        name = "away"
        listen = {{ url = "tcp://127.0.0.1:0", framing = "u32be" }}
        backend = "ws://{}/"
        [heartbeat]
        min = "2s"
        max = "30s"
        margin_min = "200ms"
        reply_timeout = "900ms"
        "#,
        server.addr("im")
    );
    Natpulse::start_in(&nat.device, &config).await
}

/// Another natpulse, which is the backend of `device`.
async fn peer(nat: &Nat) -> Natpulse {
    let config = format!(
        "[server]\ndrain_window = \"2s\"\n[[bridge]]\nname = \"peer\"\nlisten = \"ws://{PEER}/\"\nbackend = \"echo:\"\n"
    );
    Natpulse::start_in(&nat.server, &config).await
}

/// No client can be taken while there is no descriptor left.
async fn run_out_of_descriptors(nat: &Nat, natpulse: &Natpulse, prometheus: &Prometheus<'_>) {
    let pid = Pid::from_raw(natpulse.pid() as i32).unwrap();
    // Those that are open stay, and the first three are.
    let none = Rlimit { current: Some(3), maximum: Some(20_000) };
    let before = prlimit(Some(pid), Resource::Nofile, none).unwrap();
    let refused = nat.server.connect(natpulse.addr("im")).await.unwrap();
    natpulse.event("cannot accept; trying again", |_| true).await;
    prlimit(Some(pid), Resource::Nofile, before).unwrap();
    drop(refused);
    prometheus.sees("natpulse_accept_errors_total{bridge=\"im\"}").await;
}

#[tokio::test]
async fn every_series_moves_and_every_panel_has_data() {
    let nat = Nat::start(FORGETS_AFTER).await;
    let first_peer = peer(&nat).await;
    let dir = TempDir::new();
    let token_file = dir.path().join("token");
    std::fs::write(&token_file, format!("{TOKEN}\n")).unwrap();
    let doorkeeper = Doorkeeper::new(&nat.server);
    let mut natpulse = start(&nat, token_file.to_str().unwrap(), &doorkeeper).await;
    let away = device(&nat, &natpulse).await;
    let prometheus = Prometheus::start(&nat, [&natpulse, &away]).await;
    let away_clients = [nat.device.connect(away.addr("away")), nat.device.connect(away.addr("away"))];
    let [first, second] = away_clients;
    let away_clients = (first.await.unwrap(), second.await.unwrap());
    let clients = Clients::connect(&nat, &natpulse);

    let stage = Stage::new(&natpulse, &nat.server);
    let own_peer = stage.probes_itself().await;
    stage.clients_misbehave().await;
    stage.backends_misbehave().await;
    stage.backends_die_of_silence().await;
    strangers::come(&natpulse, &nat.server).await;
    stage.handshakes_fail().await;
    stage.a_session_is_dismissed().await;
    let receiver = stage.events_are_taken(&prometheus).await;

    // Traffic, and a client that takes nothing of what is sent back.
    let stream = nat.server.connect(natpulse.addr("im")).await.unwrap();
    let mut chatty = RawWs::upgrade(stream, "/").await.unwrap();
    for size in [10, 1_000, 100_000] {
        chatty.send(FIN | BINARY, &vec![7; size]).await.unwrap();
        assert_eq!(within("the echo", chatty.message()).await.unwrap().1.len(), size);
    }
    chatty.leave().await;
    let stalled = nat.server.connect(natpulse.addr("im")).await.unwrap();
    let mut stalled = RawWs::upgrade(stalled, "/").await.unwrap();
    let pouring = tokio::spawn(async move {
        let message = frame(FIN | BINARY, &vec![7; 1 << 20]);
        while stalled.io.write_all(&message).await.is_ok() {}
    });
    prometheus.sees("natpulse_buffered_bytes{bridge=\"im\"}").await;
    let taking_nothing = strangers::take_nothing(&natpulse, &nat.server);
    within_time(LONG, "one of too many to be let go", taking_nothing).await;

    // A backend that is not there, and one that goes and comes back.
    let stream = nat.server.connect(natpulse.addr("gone")).await.unwrap();
    assert!(RawWs::upgrade(stream, "/").await.is_err());
    let device = nat.server.connect(natpulse.addr("device")).await.unwrap();
    prometheus.sees("natpulse_probes_total{outcome=\"survived\"}").await;
    // When the shortest silence is measured, longer ones are under way, to which the far side says goodbye.
    natpulse.event("network measured", |event| event["bridge"] == "device").await;
    first_peer.stop().await;
    let second_peer = peer(&nat).await;
    prometheus.sees("natpulse_reconnects_total{result=\"resumed\"}").await;
    run_out_of_descriptors(&nat, &natpulse, &prometheus).await;

    // The NAT forgets those who try a silence that is too long; and then it becomes stricter than it was.
    prometheus.sees("natpulse_deaths_total{bridge=\"im\",cause=\"nat\"}").await;
    prometheus.sees("natpulse_networks{side=\"client\",state=\"settled\"}").await;
    prometheus.sees("natpulse_probes_total{outcome=\"lost\"}").await;
    nat.timeout(Duration::from_secs(3));
    for side in ["client", "backend"] {
        prometheus.sees(&format!("natpulse_deaths_explained_total{{side=\"{side}\"}}")).await;
    }

    let families = natpulse.families().await;
    for family in &families {
        prometheus.sees(&format!("max(max_over_time({{__name__=~\"{family}(_count)?\"}}[30m]))")).await;
    }
    for (title, expression) in panels() {
        let numbers = prometheus.query(&expression).await;
        assert!(!numbers.is_empty(), "the panel {title:?} has no data for {expression}");
    }
    let groups = prometheus.get("/api/v1/rules").await;
    let rules =
        groups["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap());
    let mut alerts = 0;
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule}");
        alerts += 1;
    }
    println!("{} families, {} expressions, {alerts} rules", families.len(), panels().len());
    assert!(alerts > 0 && families.len() > 30);

    // Some take their time, as events do that were refused before.
    let begun = Instant::now();
    loop {
        let mut still = prometheus.unmoved(&families).await;
        still.retain(|series| !series.contains(DRAINED));
        if still.is_empty() {
            break;
        }
        assert!(begun.elapsed() < LONG, "these have not moved: {still:#?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    stage.a_drain_is_asked_for().await;
    prometheus.sees(&format!("natpulse_sessions_closed_total{{reason={DRAINED}}}")).await;
    natpulse.terminate();
    natpulse.exit().await;
    receiver.abort();
    pouring.abort();
    drop((clients, device, second_peer, own_peer, away_clients));
}
