//! The process that serves: what it is told by signals and by the admin port, from its config to its last session.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::admin::{Admin, Counted, Reloaded};
use crate::config::{Config, Events, Server};
use crate::drain::Drain;
use crate::events::{Queue, Sender};
use crate::link::Inherited;
use crate::link::tls::{Connector, HTTP, TlsError};
use crate::metrics::Metrics;
use crate::networks::now;
use crate::proxy::Proxy;
use crate::sessions::{Changes, Sessions};
use crate::supervisor::Supervisor;

/// Where the config comes from, and what it was.
#[derive(Debug)]
struct Source {
    /// The file; `None` where all was said on the command line.
    file: Option<PathBuf>,
    /// What the process began with.
    first: Config,
    in_use: Config,
}

/// A natpulse that serves.
#[derive(Debug)]
struct Running {
    proxy: Proxy,
    drain: Arc<Drain>,
    sessions: Arc<Sessions>,
    supervisor: Supervisor,
    webhook: Option<Webhook>,
}

/// Who delivers events, and how it is told that there will be no more.
#[derive(Debug)]
struct Webhook {
    delivering: JoinHandle<()>,
    /// Cancelled when the last event has been pushed.
    all_told: CancellationToken,
    /// Cancelled when nobody waits any longer for what is undelivered.
    deadline: CancellationToken,
}

#[derive(Debug)]
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// Those who ask at the admin port for the config to be read again.
type Reloads = mpsc::Receiver<oneshot::Sender<Result<Reloaded, Vec<String>>>>;

/// How often a file that was of no use is looked at, to see whether it is the config in use again.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Serves what a config says until it is told to stop; comes out with whether it ended well. `file` is where the config
/// was read, and is read again; `set_level` changes what is logged.
///
/// # Errors
/// What keeps it from beginning, for a person to read.
pub async fn run(
    config: Config,
    file: Option<PathBuf>,
    inherited: Inherited,
    descriptors: u64,
    set_level: impl Fn(tracing::Level),
) -> Result<bool, String> {
    let mut signals = Signals::new().map_err(|error| format!("cannot listen for signals: {error}"))?;
    let source = Source { file, first: config.clone(), in_use: config.clone() };
    let (mut running, reloads) = begin(config, inherited, descriptors).await?;
    let is_told = running.serve(source, reloads, &mut signals, set_level).await;
    Ok(running.leave(&mut signals, is_told).await)
}

/// Binds and starts everything.
async fn begin(config: Config, inherited: Inherited, descriptors: u64) -> Result<(Running, Reloads), String> {
    let started = now();
    let metrics = Metrics::new().map_err(text)?;
    let Config { admin, events, server, bridges, .. } = config.clone();
    let told = events.as_ref().map(|events| webhook(events, &metrics)).transpose().map_err(text)?;
    let (queue, sender) = told.unzip();
    let cannot_listen = |error| format!("cannot listen on {} (admin.listen): {error}", admin.listen);
    let port = inherited.tcp(admin.listen).map_err(cannot_listen)?;
    let bound = Proxy::bind(config, &metrics, queue, inherited, descriptors).await;
    let mut proxy = bound.map_err(|errors| errors.join("; "))?;
    metrics.reloaded(Some(started));
    let (closing, sessions) = (proxy.drain_token(), proxy.sessions());
    let drain = Drain::new(server.drain_delay, server.drain_window);
    let (reload, reloads) = mpsc::channel(1);
    let counted = Counted { metrics, drain: drain.clone(), sessions: sessions.clone(), started, reload };
    if let Some(token) = admin.token.as_ref().filter(|token| token.is_exposed) {
        warn!(file = %token.file.display(), "everyone on this machine may read admin.token_file");
    }
    let token = admin.token.clone().map(|token| token.text);
    let admin = Admin::bind(admin.listen, port, token, counted).await.map_err(cannot_listen)?;
    info!(listen = %admin.address().map_err(text)?, "admin listening");
    tokio::spawn(admin.run());
    let webhook = sender.map(|sender| {
        let (all_told, deadline) = (CancellationToken::new(), CancellationToken::new());
        let delivering = tokio::spawn(sender.run(closing, all_told.clone(), deadline.clone()));
        Webhook { delivering, all_told, deadline }
    });
    proxy.start();
    info!(bridges = bridges.len(), version = env!("CARGO_PKG_VERSION"), "serving");
    let supervisor = Supervisor::from_environment();
    tokio::spawn(supervisor.clone().stay_alive());
    Ok((Running { proxy, drain, sessions, supervisor, webhook }, reloads))
}

impl Running {
    /// Serves until somebody asks for the drain; comes out with whether that was a signal. The config is read again
    /// whenever somebody asks for that.
    async fn serve(
        &mut self,
        mut source: Source,
        mut reloads: Reloads,
        signals: &mut Signals,
        set_level: impl Fn(tracing::Level),
    ) -> bool {
        self.supervisor.ready(&source.status()).await;
        loop {
            let asked = tokio::select! {
                () = told_to_stop(&mut signals.terminate, &mut signals.interrupt) => {
                    self.drain.begin();
                    return true;
                }
                () = self.drain.asked() => return false,
                () = sleep(LOOK_EVERY), if self.proxy.is_config_stale() => {
                    source.look(&self.proxy);
                    continue;
                }
                _ = signals.hangup.recv() => None,
                Some(asked) = reloads.recv() => Some(asked),
            };
            self.supervisor.reloading().await;
            let reloaded = source.reload(&mut self.proxy, &set_level).await;
            let Server { drain_delay, drain_window, .. } = source.in_use.server;
            self.drain.set_times(drain_delay, drain_window);
            self.supervisor.ready(&source.status()).await;
            if let Some(asked) = asked {
                // Whoever has not waited for it does not want to know.
                let _ = asked.send(reloaded);
            }
        }
    }

    /// Drains, and waits to be told to stop where that has not been done; comes out with whether there was time for it.
    async fn leave(self, signals: &mut Signals, is_told: bool) -> bool {
        let Running { proxy, drain, sessions, supervisor, webhook } = self;
        let stopping = CancellationToken::new();
        tokio::spawn({
            let (supervisor, drain, stopping) = (supervisor.clone(), drain.clone(), stopping.clone());
            async move { supervisor.tell_progress(stopping, || leaving_status(&drain, &sessions)).await }
        });
        let leaving = async {
            drain.run(proxy.drain_token()).await;
            if let Some(Webhook { deadline, .. }) = &webhook {
                let (deadline, window) = (deadline.clone(), proxy.drain_window());
                tokio::spawn(async move {
                    sleep(window).await;
                    deadline.cancel();
                });
            }
            proxy.drained().await;
            if let Some(Webhook { delivering, all_told, .. }) = webhook {
                all_told.cancel();
                // It ends well, or has panicked and said so.
                let _ = delivering.await;
            }
            drain.finish();
            // Whoever has asked for the drain at the admin port may still ask how it went.
            stopping.cancelled().await;
        };
        let stop = async {
            if !is_told {
                told_to_stop(&mut signals.terminate, &mut signals.interrupt).await;
            }
            stopping.cancel();
            supervisor.stopping().await;
            told_to_stop(&mut signals.terminate, &mut signals.interrupt).await;
        };
        tokio::select! {
            () = leaving => true,
            () = stop => {
                warn!("told to stop twice: leaving at once");
                false
            }
        }
    }
}

/// How a drain goes, in a line for people.
fn leaving_status(drain: &Drain, sessions: &Sessions) -> String {
    match (drain.is_over(), sessions.count()) {
        (true, _) => "drained, waiting to be stopped".to_owned(),
        (false, 1) => "draining: 1 session left".to_owned(),
        (false, left) => format!("draining: {left} sessions left"),
    }
}

impl Source {
    /// Reads the config again, and has the proxy go on with it. What comes of it is in the log, too. Blocks.
    async fn reload(
        &mut self,
        proxy: &mut Proxy,
        set_level: &impl Fn(tracing::Level),
    ) -> Result<Reloaded, Vec<String>> {
        let Some(file) = &self.file else {
            proxy.read_files(true);
            info!("there is no config file; certificates, keys and tokens were read again");
            return Ok(Reloaded::default());
        };
        let reloaded = match read(file) {
            Ok(config) => {
                let changes = proxy.reload(config.clone()).await;
                changes.map(|changes| {
                    config.warnings().iter().for_each(|warning| warn!("{warning}"));
                    set_level(config.log.level);
                    let needs_restart = self.needs_restart(&config);
                    self.in_use = config;
                    Reloaded { changes, needs_restart }
                })
            }
            Err(errors) => {
                proxy.read_files(false);
                Err(errors)
            }
        };
        match &reloaded {
            Ok(Reloaded { changes, needs_restart }) => {
                let Changes { added, changed, removed, unchanged } = changes;
                let unchanged = unchanged.len();
                info!(?added, ?changed, ?removed, unchanged, "the config was read again");
                if !needs_restart.is_empty() {
                    warn!(?needs_restart, "what is new in these tables waits for the next start");
                }
            }
            Err(errors) => {
                for reason in errors {
                    error!("{reason}");
                }
                error!(errors = errors.len(), "the config cannot be used; going on with the one before");
            }
        }
        reloaded
    }

    /// What is served, in a line for people.
    fn status(&self) -> String {
        match self.in_use.bridges.len() {
            1 => "serving 1 bridge".to_owned(),
            bridges => format!("serving {bridges} bridges"),
        }
    }

    /// Takes a file for mended that is the config in use again, as when a certificate has come that was not there. One
    /// that is another waits for the operator's word. Blocks.
    fn look(&self, proxy: &Proxy) {
        let is_in_use = self.file.as_ref().is_some_and(|file| read(file).as_ref() == Ok(&self.in_use));
        if is_in_use {
            info!("the config file is what is in use again");
            proxy.read_files(true);
        }
    }

    /// The tables that differ from what the process was started with, and are not looked at again.
    fn needs_restart(&self, config: &Config) -> Vec<&'static str> {
        let first = &self.first;
        let differs = [
            (first.admin != config.admin, "admin"),
            (first.networks != config.networks, "networks"),
            (first.events != config.events, "events"),
            (first.log.format != config.log.format, "log.format"),
        ];
        differs.into_iter().filter(|(differs, _)| *differs).map(|(_, table)| table).collect()
    }
}

/// Reads a config file, with the environment over it.
///
/// # Errors
/// All that is wrong with it, for a person to read.
pub fn read(file: &Path) -> Result<Config, Vec<String>> {
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|error| {
        let is_missing = error.kind() == std::io::ErrorKind::NotFound;
        let advice = if is_missing { "; name one with -c, or see natpulse --help" } else { "" };
        vec![format!("{name}: {error}{advice}")]
    })?;
    let parsed = Config::parse(&name, &text, std::env::vars());
    parsed.map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

impl Signals {
    fn new() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

fn text(error: impl Display) -> String {
    error.to_string()
}

async fn told_to_stop(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    info!("told to stop");
}

/// Where events for the webhook wait, and who delivers them.
fn webhook(events: &Events, metrics: &Metrics) -> Result<(Queue, Sender), TlsError> {
    let Events { webhook, tls, secret, queue } = events;
    if let Some(secret) = secret.as_ref().filter(|secret| secret.is_exposed) {
        warn!(file = %secret.file.display(), "everyone on this machine may read events.secret_file");
    }
    let queue = Queue::new(*queue, metrics.events());
    let secret = secret.as_ref().map(|secret| secret.text.clone().into_bytes());
    let tls = tls.as_ref().map(|tls| Connector::new(tls, &webhook.authority.host, Some(HTTP))).transpose()?;
    Ok((queue.clone(), Sender::new(queue, webhook.clone(), tls, secret)))
}
