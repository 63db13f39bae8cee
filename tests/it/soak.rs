//! Half an hour, or as long as `tests/soak` is told, of what comes and goes: sessions of every kind, beats, reloads, and
//! backends that are restarted. What natpulse takes at the end is what it took after five minutes.

mod backends;
mod clients;
mod watch;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::harness::{Natpulse, http_get};
use crate::process::within;
use crate::tls::authority::Authority;
use crate::tls::connector;
use backends::{Backend, Speech};
use clients::{Client, Kind};
use watch::{Sample, table};

/// For each kind of client: so many come and go, and so many stay.
const COMING: usize = 6;
const STAYING: usize = 10;
/// From one session to the next of who comes and goes.
const PAUSE: Duration = Duration::from_millis(150);
/// From one message to the next of who stays: longer than a beat is waited for.
const REST: Duration = Duration::from_secs(4);
/// From one restart of a backend, and from one reload, to the next.
const RESTARTS: Duration = Duration::from_secs(20);
const RELOADS: Duration = Duration::from_secs(7);

/// What has happened.
#[derive(Default)]
struct Tally {
    is_over: AtomicBool,
    sessions: AtomicU64,
    messages: AtomicU64,
    bytes: AtomicU64,
    /// Sessions that ended because their backend was restarted.
    cut: AtomicU64,
    restarts: AtomicU64,
    reloads: AtomicU64,
    /// What must not happen.
    wrong: Mutex<Vec<String>>,
}

impl Tally {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    fn add(&self, counter: impl Fn(&Tally) -> &AtomicU64, count: usize) {
        counter(self).fetch_add(count as u64, Ordering::Relaxed);
    }

    fn wrong(&self, what: String) {
        self.wrong.lock().unwrap().push(what);
    }
}

/// Clients of one bridge.
#[derive(Clone)]
struct Crowd {
    bridge: &'static str,
    kind: Kind,
    addr: SocketAddr,
    /// Of the bridge's backend; it is odd while that is away.
    epoch: Arc<AtomicU64>,
    tally: Arc<Tally>,
}

/// Numbers that look random, and are the same each time.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 16
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// A batch of short messages, or a long one.
    fn messages(&mut self) -> Vec<Vec<u8>> {
        let lengths: Vec<u64> = match self.below(20) {
            0 => vec![self.below(300_000)],
            1..=3 => vec![self.below(20_000)],
            _ => (0..=self.below(8)).map(|_| self.below(300)).collect(),
        };
        lengths.into_iter().map(|length| (0..length).map(|_| self.next() as u8).collect()).collect()
    }
}

impl Crowd {
    /// Sessions one after the other, each with its messages; `rest` is what comes between them.
    async fn come(self, seed: u64, is_staying: bool) {
        let mut noise = Noise(seed * 0x9e37_79b9_7f4a_7c15 + 1);
        while !self.tally.is_over() {
            let before = self.epoch.load(Ordering::SeqCst);
            let session = match is_staying {
                true => self.stay(&mut noise).await,
                false => self.visit(&mut noise).await,
            };
            if let Err(error) = session {
                // What is cut may be seen a moment before it is known why.
                sleep(PAUSE).await;
                let after = self.epoch.load(Ordering::SeqCst);
                match before % 2 == 1 || after != before {
                    true => self.tally.add(|tally| &tally.cut, 1),
                    false => self.tally.wrong(format!("{}, staying {is_staying}: {error}", self.bridge)),
                }
            }
            sleep(PAUSE).await;
        }
    }

    async fn open(&self) -> std::io::Result<Client> {
        let client = Client::open(&self.kind, self.addr).await?;
        self.tally.add(|tally| &tally.sessions, 1);
        Ok(client)
    }

    async fn visit(&self, noise: &mut Noise) -> std::io::Result<()> {
        let mut client = self.open().await?;
        for _ in 0..noise.below(6) {
            self.exchange(&mut client, noise).await?;
        }
        // One in four hangs up without a word.
        if noise.below(4) > 0 { client.leave().await } else { Ok(()) }
    }

    async fn stay(&self, noise: &mut Noise) -> std::io::Result<()> {
        let mut client = self.open().await?;
        while !self.tally.is_over() {
            self.exchange(&mut client, noise).await?;
            client.rest(REST).await?;
        }
        client.leave().await
    }

    async fn exchange(&self, client: &mut Client, noise: &mut Noise) -> std::io::Result<()> {
        let messages = noise.messages();
        let heard = client.exchange(&messages).await?;
        if heard != messages {
            self.tally.wrong(format!("{}: messages came back changed", self.bridge));
        }
        self.tally.add(|tally| &tally.messages, messages.len());
        self.tally.add(|tally| &tally.bytes, messages.iter().map(Vec::len).sum());
        Ok(())
    }
}

const BEATS: &str = "{ policy = \"fixed\", every = \"3s\", reply_timeout = \"2500ms\" }";

/// The bridges, and one more of this name that comes and goes with reloads.
fn config(records: &Backend, messages: &Backend, files: &str, more: Option<u64>) -> String {
    let (records, messages) = (records.addr, messages.addr);
    let legacy = "send = \"hex:abcd0000\", form = \"bare\", answer = true";
    let legacy = format!("{{ policy = \"fixed\", every = \"3s\", reply_timeout = \"2500ms\", {legacy} }}");
    let ping = "{ policy = \"fixed\", every = \"3s\", reply_timeout = \"2500ms\", send = \"ping\", expect = \"pong\" }";
    let mut config = format!(
        "[log]\nlevel = \"info\"\n[admin]\nlisten = \"127.0.0.1:0\"\n[heartbeat]\nprobes = 0\n\
         [limits]\nhandshake_rate = 100000\nhandshake_burst = 100000\n\
         [[bridge]]\nname = \"ws\"\nlisten = {{ url = \"ws://127.0.0.1:0/ws\", heartbeat = {BEATS} }}\n\
         backend = {{ url = \"tcp://{records}\", framing = \"u32be\" }}\n\
         [[bridge]]\nname = \"wss\"\n\
         listen = {{ url = \"wss://127.0.0.2:0/wss\", heartbeat = {BEATS}, tls = {{ {files} }} }}\n\
         backend = {{ url = \"tcp://{records}\", framing = \"u32be\" }}\n\
         [[bridge]]\nname = \"device\"\nlisten = {{ url = \"tcp://127.0.0.1:0\", framing = \"u32be\" }}\n\
         backend = {{ url = \"ws://{messages}/\", heartbeat = {BEATS} }}\n\
         [[bridge]]\nname = \"legacy\"\n\
         listen = {{ url = \"tcp://127.0.0.1:0\", framing = \"u32le\", heartbeat = {legacy} }}\n\
         backend = {{ url = \"tcp://{records}\", framing = \"u32be\", heartbeat = {ping} }}\n"
    );
    if let Some(number) = more {
        // Another name each time, so that what is kept of a name that is gone would show.
        let _ = write!(
            config,
            "[[bridge]]\nname = \"more-{number}\"\nlisten = \"unix:///tmp/natpulse-soak-{}.sock\"\n\
             backend = \"echo:\"\n",
            std::process::id()
        );
    }
    config
}

/// Adds and removes a bridge, again and again; whoever uses another one never notices.
async fn reload(natpulse: &Natpulse, tally: &Tally, config: impl Fn(Option<u64>) -> String) {
    for number in 0_u64.. {
        sleep(RELOADS).await;
        if tally.is_over() {
            break;
        }
        let more = (number % 2 == 0).then_some(number);
        if is_taken_over(natpulse, &config(more), number, more.is_some()).await {
            tally.add(|tally| &tally.reloads, 1);
        } else {
            tally.wrong(format!("reload {number} was not taken over"));
        }
    }
    natpulse.rewrite(&config(None));
    natpulse.hang_up();
}

/// Whether natpulse takes over a config that has, or has not, the bridge of this or the previous number.
async fn is_taken_over(natpulse: &Natpulse, config: &str, number: u64, has_more: bool) -> bool {
    let name = format!("\"more-{}\"", if has_more { number } else { number - 1 });
    natpulse.rewrite(config);
    natpulse.hang_up();
    let taken = async {
        while http_get(natpulse.admin(), "/api/bridges").await.body.contains(&name) != has_more {
            sleep(PAUSE).await;
        }
    };
    timeout(Duration::from_secs(10), taken).await.is_ok()
}

async fn restart(tally: &Tally, mut backends: [Backend; 2]) -> [Backend; 2] {
    for turn in 0.. {
        sleep(RESTARTS).await;
        if tally.is_over() {
            break;
        }
        backends[turn % 2].restart().await;
        tally.add(|tally| &tally.restarts, 1);
    }
    backends
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it takes half an hour: tests/soak runs it"]
async fn nothing_grows_and_nothing_is_lost() {
    let minutes: u32 = std::env::var("NATPULSE_SOAK").map_or(30, |text| text.parse().unwrap());
    let length = Duration::from_secs(60) * minutes;
    let authority = Arc::new(Authority::new());
    let records = Backend::start(Speech::Records).await;
    let messages = Backend::start(Speech::WebSocket).await;
    let files = authority.localhost().files();
    let base = config(&records, &messages, &files, None);
    let natpulse = Arc::new(Natpulse::launch(&base, |_| {}).await);
    let idle = Sample::take(&natpulse, Duration::ZERO).await;
    let tally = Arc::new(Tally::default());

    let kinds = [
        ("ws", Kind::Ws(natpulse.url("ws")), &records),
        ("wss", Kind::Wss(connector(&authority, None), natpulse.url("wss")), &records),
        ("device", Kind::Records, &messages),
        ("legacy", Kind::Legacy, &records),
    ];
    let mut clients = JoinSet::new();
    for (bridge, kind, backend) in kinds {
        let (addr, epoch) = (natpulse.addr(bridge), backend.epoch.clone());
        let crowd = Crowd { bridge, kind, addr, epoch, tally: tally.clone() };
        for number in 0..COMING + STAYING {
            clients.spawn(crowd.clone().come(clients.len() as u64 + 1, number >= COMING));
        }
    }
    let with = |more| config(&records, &messages, &files, more);
    let configs = [with(None), with(Some(0))];
    let reloading = tokio::spawn({
        let (natpulse, tally) = (natpulse.clone(), tally.clone());
        async move {
            let of = |more: Option<u64>| match more {
                Some(number) => configs[1].replace("\"more-0\"", &format!("\"more-{number}\"")),
                None => configs[0].clone(),
            };
            reload(&natpulse, &tally, of).await;
        }
    });
    let restarting = tokio::spawn({
        let tally = tally.clone();
        async move { restart(&tally, [records, messages]).await }
    });

    let begun = Instant::now();
    let mut samples = Vec::new();
    while begun.elapsed() < length {
        sleep_until(begun + watch::EVERY * (samples.len() as u32 + 1)).await;
        samples.push(Sample::take(&natpulse, begun.elapsed()).await);
    }
    tally.is_over.store(true, Ordering::Relaxed);
    let leaving = async { while clients.join_next().await.is_some() {} };
    crate::process::within_time(4 * REST + Duration::from_secs(60), "all clients to leave", leaving).await;
    within("the last reload", reloading).await.unwrap();
    let backends = within("the last restart", restarting).await.unwrap();

    let metrics = natpulse.metrics().await;
    let count = |name: &str| {
        let series = metrics.iter().filter(|(series, _)| series.starts_with(name));
        series.map(|(_, value)| *value as u64).sum::<u64>()
    };
    let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    println!(
        "{minutes} minutes: {} sessions, of which {} were cut by {} restarts of their backends and {} were given \
         another connection;\n{} messages, {} MiB, there and back; {} beats, of which {} were not answered; {} reloads",
        of(&tally.sessions),
        of(&tally.cut),
        of(&tally.restarts),
        count("natpulse_reconnects_total"),
        of(&tally.messages),
        of(&tally.bytes) >> 20,
        count("natpulse_beats_sent_total"),
        count("natpulse_beats_missed_total"),
        of(&tally.reloads),
    );
    println!("{}", table(&samples));
    assert!(count("natpulse_beats_answered_total") > 0 && of(&tally.restarts) > 0);
    let wrong = tally.wrong.lock().unwrap().clone();
    assert!(wrong.is_empty(), "{} things went wrong: {:#?}", wrong.len(), &wrong[..wrong.len().min(20)]);
    let resumed = metrics["natpulse_reconnects_total{bridge=\"device\",result=\"resumed\"}"];
    assert!(resumed > 0.0, "no session survived its backend");
    watch::compare(&samples, length);
    watch::is_back_at(&natpulse, &idle).await;
    drop(backends);
    Arc::into_inner(natpulse).unwrap().stop().await;
}
