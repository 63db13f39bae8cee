//! What the ends of one kind have learned about their networks: shared by their sessions.
//!
//! A session holds a [`Seat`]. It asks for a plan after each silence that a beat has ended, and is woken when another
//! connection of its network has died so that it beats at once. The lock is taken once per beat, never per message.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;
use tracing::info;

use crate::heartbeat::{
    self, Bracket, Cause, Departure, Known, Learned, NetworkId, NetworkKey, Outcome, Plan, ProbeId, Settings,
    Step, Wake,
};

/// A table of networks and of who sits in them.
#[derive(Debug)]
pub struct Networks {
    inner: Mutex<Inner>,
    /// How often anyone was called, so that a session can see without a lock that it was not.
    calls: AtomicU32,
}

#[derive(Debug)]
struct Inner {
    table: heartbeat::Networks,
    /// By seat.
    sitters: Vec<Sitter>,
    /// The networks that are to be probed, and how to tell whoever does that something has happened there.
    probings: HashMap<NetworkId, Option<Arc<Notify>>>,
}

#[derive(Debug, Default)]
struct Sitter {
    waker: Option<Waker>,
    is_called: bool,
}

/// A connection's place in the table, until it is dropped.
#[derive(Debug)]
pub struct Seat {
    /// The table, until the seat is left.
    networks: Option<Arc<Networks>>,
    seat: heartbeat::Seat,
    /// The calls that this connection has looked at.
    calls: u32,
}

/// What a connection finds when it joins its network.
#[derive(Debug)]
pub struct Joined {
    /// Its place.
    pub seat: Seat,
    /// How long it may be silent at first.
    pub plan: Plan,
    /// Whether its coming explains an earlier death: the NAT had forgotten it.
    pub explains: bool,
}

/// What a connection leaves behind.
#[derive(Debug)]
pub struct Left {
    /// What ended it.
    pub cause: Cause,
    /// The network that it was part of, where there is one.
    pub network: Option<NetworkKey>,
}

/// What is known of all networks of a table, or of several.
#[derive(Debug, Default)]
pub struct Survey {
    /// How many may still try longer silences.
    pub learning: usize,
    /// How many have nothing to try for the time being.
    pub settled: usize,
    /// The intervals in use where there are connections.
    intervals: Vec<Duration>,
}

/// So many networks are looked at before those who wait for the lock get their turn.
const SURVEYED_AT_ONCE: usize = 512;

impl Survey {
    /// The interval that so many percent of the networks with connections do not exceed; `None` where there are none.
    pub fn percentile(&mut self, percent: usize) -> Option<Duration> {
        let place = self.intervals.len() * percent / 100;
        let last = self.intervals.len().checked_sub(1)?;
        Some(*self.intervals.select_nth_unstable(place.min(last)).1)
    }
}

/// The right to probe a network, as long as it has connections.
#[derive(Debug)]
pub struct Probing {
    networks: Arc<Networks>,
    network: NetworkId,
    news: Arc<Notify>,
}

impl Networks {
    /// An empty table for ends with these settings, which remembers up to `capacity` networks.
    pub fn new(settings: Settings, capacity: usize) -> Arc<Networks> {
        let table = heartbeat::Networks::new(settings, capacity);
        let inner = Mutex::new(Inner { table, sitters: Vec::new(), probings: HashMap::new() });
        Arc::new(Networks { inner, calls: AtomicU32::new(0) })
    }

    /// Takes in what an earlier run has saved; returns of how many networks. There need not be a file.
    ///
    /// # Errors
    /// The file cannot be read, or is no whole record of networks; then nothing of it is taken in.
    pub fn load(&self, file: &Path) -> io::Result<usize> {
        let text = match fs::read_to_string(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            text => text?,
        };
        self.lock().table.import(&text).map_err(io::Error::other)
    }

    /// Writes what was learned, so that whoever reads the file finds either all of it or what was there before.
    ///
    /// # Errors
    /// The file cannot be written; what was there before stays.
    pub fn save(&self, file: &Path) -> io::Result<()> {
        let text = self.lock().table.export();
        // Of our own: while one natpulse follows another there are two.
        let unfinished = file.with_added_extension(format!("{}.new", std::process::id()));
        let mut output = fs::File::create(&unfinished)?;
        output.write_all(text.as_bytes())?;
        output.sync_all()?;
        fs::rename(unfinished, file)
    }

    /// Adds what is known of all networks here to a survey.
    pub fn survey(&self, survey: &mut Survey) {
        self.look(|known| {
            *if known.is_settled { &mut survey.settled } else { &mut survey.learning } += 1;
            survey.intervals.extend(known.interval.filter(|_| known.connections > 0));
        });
    }

    /// Looks at all networks here, so many at a time.
    pub fn look(&self, mut see: impl FnMut(Known<'_>)) {
        let mut places = 0..SURVEYED_AT_ONCE;
        loop {
            let inner = self.lock();
            if places.start >= inner.table.len() {
                return;
            }
            inner.table.look(places.clone(), now()).for_each(&mut see);
            drop(inner);
            places = places.end..places.end + SURVEYED_AT_ONCE;
        }
    }

    /// Who decides here how long a silence may last.
    pub fn policy(&self) -> &'static str {
        self.lock().table.settings().policy.label()
    }

    /// A connection from `peer` was made in a network. Where the far end is natpulse, probes will tell how long the network keeps a silent connection, and the
    /// connection itself is not used to find out.
    pub fn join(self: &Arc<Self>, key: NetworkKey, peer: IpAddr, far_is_natpulse: bool) -> Joined {
        let now = now();
        let calls = self.calls.load(Ordering::Relaxed);
        let mut inner = self.lock();
        let (seat, wake) = inner.table.join(key, peer, now);
        let network = inner.table.network(seat);
        let explains = matches!(wake, Wake::Network(_));
        if explains {
            tell(&inner.table, network, "the client is back: its network had forgotten it");
        }
        if far_is_natpulse && inner.table.probe(network) {
            inner.probings.entry(network).or_default();
        }
        let plan = inner.table.plan(seat, now);
        if inner.sitters.len() <= seat.index() {
            inner.sitters.resize_with(seat.index() + 1, Sitter::default);
        }
        inner.sitters[seat.index()] = Sitter::default();
        self.call(inner, wake);
        Joined { seat: Seat { networks: Some(self.clone()), seat, calls }, plan, explains }
    }

    /// Nothing in here can be left half done by a panic that would be worse than what the panic left.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes who must beat at once.
    fn call(&self, mut inner: MutexGuard<'_, Inner>, wake: Wake) {
        let Wake::Network(network) = wake else {
            return;
        };
        let Inner { table, sitters, probings } = &mut *inner;
        probings.get(&network).into_iter().flatten().for_each(|news| news.notify_one());
        let mut wakers = Vec::new();
        for seat in table.seats(network) {
            let sitter = &mut sitters[seat.index()];
            sitter.is_called = true;
            wakers.extend(sitter.waker.clone());
        }
        self.calls.fetch_add(1, Ordering::Release);
        drop(inner);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Seat {
    fn networks(&self) -> &Networks {
        self.networks.as_ref().expect("only who leaves takes it, and is gone then")
    }

    /// Whom to wake when the connection must beat at once.
    pub fn watch(&self, waker: &Waker) {
        self.networks().lock().sitters[self.seat.index()].waker = Some(waker.clone());
    }

    /// Whether the connection was called to beat at once since it was last asked.
    pub fn is_called(&mut self) -> bool {
        let calls = self.networks().calls.load(Ordering::Acquire);
        if std::mem::replace(&mut self.calls, calls) == calls {
            return false;
        }
        std::mem::take(&mut self.networks().lock().sitters[self.seat.index()].is_called)
    }

    /// The right to probe the connection's network, where that is to be done and nobody has it yet.
    pub fn probing(&self) -> Option<Probing> {
        let networks = self.networks.as_ref()?;
        let mut inner = networks.lock();
        let network = inner.table.network(self.seat);
        let vacant = inner.probings.get_mut(&network).filter(|holder| holder.is_none())?;
        let news = vacant.insert(Arc::new(Notify::new())).clone();
        Some(Probing { networks: networks.clone(), network, news })
    }

    /// How long the connection may be silent from now on.
    pub fn plan(&self) -> Plan {
        self.networks().lock().table.plan(self.seat, now())
    }

    /// A beat after this silence was answered.
    pub fn survived(&self, silence: Duration) {
        self.networks().lock().table.survived(self.seat, silence, now());
    }

    /// The connection ended in a way that says something about its network.
    pub fn leave(mut self, departure: Departure) -> Left {
        self.depart(departure).unwrap_or(Left { cause: Cause::Unclear, network: None })
    }

    /// `None` where it has departed before.
    fn depart(&mut self, departure: Departure) -> Option<Left> {
        let networks = self.networks.take()?;
        let mut inner = networks.lock();
        let cause = inner.table.cause(self.seat, departure);
        inner.sitters[self.seat.index()] = Sitter::default();
        let network = inner.table.network(self.seat);
        // Far more leave with a goodbye, and nobody asks for the network of those.
        let key = (departure != Departure::Goodbye).then(|| inner.table.key(network).clone());
        let wake = inner.table.leave(self.seat, departure, now());
        match departure {
            Departure::Lost { .. } => tell(&inner.table, network, "a connection was lost to a silence"),
            Departure::Reset { .. } => tell(&inner.table, network, "a connection was reset after a silence"),
            Departure::Goodbye => {}
        }
        let is_empty = inner.table.seats(network).next().is_none();
        let news =
            if is_empty { inner.probings.remove(&network) } else { inner.probings.get(&network).cloned() };
        if let Some(news) = news.flatten().filter(|_| is_empty || departure != Departure::Goodbye) {
            news.notify_one();
        }
        networks.call(inner, wake);
        Some(Left { cause, network: key })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.depart(Departure::Goodbye);
    }
}

/// Tells the log what is known of a network now.
fn tell(table: &heartbeat::Networks, network: NetworkId, what: &str) {
    if let Learned::Smart(bracket) = table.learned(network) {
        let proven_s = bracket.proven().as_secs_f32();
        let refuted_s = bracket.refuted().map(|refuted| refuted.as_secs_f32());
        let in_use_s = bracket.in_use(table.settings()).as_secs_f32();
        info!(network = %table.key(network), proven_s, refuted_s, in_use_s, is_in_doubt = bracket.is_in_doubt(), "{what}");
    }
}

impl Probing {
    /// Waits until something has happened in the network that may change what is to be done.
    pub async fn news(&self) {
        self.news.notified().await;
    }

    /// What to do next; `None` once the network's last connection has gone, and the right with it.
    pub fn step(&self) -> Option<Step> {
        let mut inner = self.lock()?;
        Some(inner.table.probe_step(self.network, now()))
    }

    /// A probe ended; `None` as above.
    pub fn ended(&self, probe: ProbeId, outcome: Outcome) -> Option<()> {
        let mut inner = self.lock()?;
        let wake = inner.table.probed(self.network, probe, outcome, now());
        self.networks.call(inner, wake);
        Some(())
    }

    /// What the network has shown; `None` as above.
    pub fn bracket(&self) -> Option<Bracket> {
        match self.lock()?.table.learned(self.network) {
            Learned::Smart(bracket) => Some(*bracket),
            Learned::Nothing | Learned::Wechat(_) => None,
        }
    }

    /// What the network is called; `None` as above.
    pub fn name(&self) -> Option<String> {
        Some(self.lock()?.table.key(self.network).to_string())
    }

    /// What was chosen for this network and all others of its table.
    pub fn settings(&self) -> Settings {
        self.networks.lock().table.settings().clone()
    }

    /// The table, if this is still the one who probes: another network may have taken the place of one that was left.
    fn lock(&self) -> Option<MutexGuard<'_, Inner>> {
        let inner = self.networks.lock();
        let holder = inner.probings.get(&self.network).and_then(Option::as_ref);
        let is_ours = holder.is_some_and(|news| Arc::ptr_eq(news, &self.news));
        is_ours.then_some(inner)
    }
}

impl Drop for Probing {
    fn drop(&mut self) {
        if let Some(mut inner) = self.lock() {
            inner.probings.insert(self.network, None);
        }
    }
}

/// The time since the UNIX epoch.
pub fn now() -> Duration {
    // A clock before 1970 is a clock that was never set; what is learned by it is old at once.
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
