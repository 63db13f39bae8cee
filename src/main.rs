//! The `natpulse` program: arguments, logging, runtime, exit code.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use natpulse::admin::{Admin, Counted};
use natpulse::cli::{Cli, Command, Probe, Simulate, Top};
use natpulse::config::{Config, ConfigError, Events, Log, LogFormat};
use natpulse::events::{Queue, Sender};
use natpulse::link::BackendUrl;
use natpulse::link::tls::{ClientTls, Connector, HTTP, TlsError};
use natpulse::metrics::Metrics;
use natpulse::probe::{Measurement, measure};
use natpulse::proxy::Proxy;
use natpulse::simulate::{self, Comparison};
use natpulse::top;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// Exit status for a wrong command line or config, as clap has it.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(Command::Simulate(simulate)) = cli.command {
        #[expect(clippy::print_stdout, reason = "this is what was asked for")]
        {
            print!("{}", simulated(simulate));
        }
        return ExitCode::SUCCESS;
    }
    if let Some(Command::Probe(probe)) = cli.command {
        return probed(&probe);
    }
    if let Some(Command::Top(top)) = cli.command {
        return watched(&top);
    }
    let is_check = matches!(cli.command, Some(Command::Check(_)));
    let config = match load(cli) {
        Ok(config) => config,
        Err(text) => {
            #[expect(clippy::print_stderr, reason = "there is no log before there is a config")]
            {
                eprint!("{text}");
            }
            return ExitCode::from(USAGE);
        }
    };
    if is_check {
        #[expect(clippy::print_stdout, clippy::print_stderr, reason = "this is what was asked for")]
        {
            config.warnings().iter().for_each(|warning| eprintln!("warning: {warning}"));
            print!("{config}");
        }
        return ExitCode::SUCCESS;
    }
    start_logging(config.log);
    config.warnings().iter().for_each(|warning| warn!("{warning}"));
    give_back_at_once();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            error!(%error, "cannot start the runtime");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(serve(config)) {
        Ok(code) => code,
        Err(error) => {
            error!(error = %error, "cannot serve");
            ExitCode::FAILURE
        }
    }
}

/// Has glibc give back at once what a session held for a peer that took nothing, 128 KiB and more. It starts with that
/// threshold but raises it to the largest such block that was ever freed, and keeps as much in every thread's heap
/// from then on: up to 0.8 MiB, measured with a 1 GiB message each way.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "the C library's allocator has no other door")]
fn give_back_at_once() {
    // SAFETY: mallopt(3) takes two integers, and no other thread is there yet that could allocate meanwhile. What it
    // does not know it refuses, and then all is as it was.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, 128 * 1024) };
}

/// Other C libraries give large blocks back at once, or are not told to.
#[cfg(not(target_env = "gnu"))]
fn give_back_at_once() {}

/// Measures the network, and says what came of it.
fn probed(probe: &Probe) -> ExitCode {
    let url = BackendUrl::parse(&probe.url).map_err(|rule| (USAGE, format!("{}: must be {rule}", probe.url)));
    let url = url.and_then(|url| match probe.min < probe.max {
        true => Ok(url),
        false => Err((USAGE, "--min must be shorter than --max".to_owned())),
    });
    let measured = url.and_then(|url| {
        let mut out = std::io::stdout();
        let (ca, insecure_skip_verify) = (probe.ca.clone(), probe.insecure_skip_verify);
        let tls = ClientTls { ca, insecure_skip_verify, ..ClientTls::default() };
        let what = Measurement {
            url,
            tls,
            token_file: probe.token_file.clone(),
            min: probe.min,
            max: probe.max,
            probes: probe.probes,
            precision_permille: probe.precision,
            is_json: probe.json,
            is_terminal: out.is_terminal(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| (1, format!("cannot start the runtime: {error}")))?;
        runtime.block_on(measure(&what, &mut out)).map_err(|error| (1, error))
    });
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, text)) => {
            #[expect(clippy::print_stderr, reason = "this is for whoever typed the command")]
            {
                eprintln!("natpulse probe: {text}");
            }
            ExitCode::from(code)
        }
    }
}

/// Shows a running natpulse.
fn watched(top: &Top) -> ExitCode {
    let client = token(top).and_then(|token| top::Client::new(&top.url, token.as_deref()));
    let shown = client.map_err(|text| (USAGE, text)).and_then(|client| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| (1, format!("cannot start the runtime: {error}")))?;
        let shown = runtime.block_on(async {
            if top.once {
                let text = top::once(client).await?;
                let written = std::io::stdout().write_all(text.as_bytes());
                written.map_err(|error| format!("cannot write: {error}"))
            } else {
                // https://no-color.org: any value but none.
                let is_coloured = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
                top::watch(client, is_coloured).await
            }
        });
        shown.map_err(|text| (1, text))
    });
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, text)) => {
            #[expect(clippy::print_stderr, reason = "this is for whoever typed the command")]
            {
                eprintln!("natpulse top: {text}");
            }
            ExitCode::from(code)
        }
    }
}

/// The token that opens the admin port, if one was named.
fn token(top: &Top) -> Result<Option<String>, String> {
    let Some(file) = &top.token_file else {
        return Ok(std::env::var("NATPULSE_TOKEN").ok().filter(|token| !token.is_empty()));
    };
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let line = text.lines().next().unwrap_or_default().trim();
    if line.is_empty() {
        return Err(format!("{}: must hold the token in its first line", file.display()));
    }
    Ok(Some(line.to_owned()))
}

/// What each heartbeat policy costs, as text.
fn simulated(simulate: Simulate) -> String {
    let comparison = Comparison {
        timeout: Duration::from_secs(simulate.timeout.into()),
        connections: simulate.connections,
        length: Duration::from_secs(u64::from(simulate.days) * 24 * 3600),
        seed: simulate.seed,
    };
    let rows = simulate::compare(&comparison);
    if simulate.json { simulate::json(&comparison, &rows) } else { simulate::text(&comparison, &rows) }
}

/// Makes a config of the command line, or the text that explains why not.
fn load(cli: Cli) -> Result<Config, String> {
    let explain =
        |errors: Vec<ConfigError>| errors.iter().map(|error| format!("{error}\n")).collect::<String>();
    let file = match cli.command {
        Some(Command::Bridge(bridge)) => return Config::from_arguments(&bridge.arguments()).map_err(explain),
        Some(Command::Run(file) | Command::Check(file)) => file,
        Some(Command::Probe(_) | Command::Simulate(_) | Command::Top(_)) | None => {
            match cli.websockify.arguments().map_err(|error| format!("{error}\n"))? {
                Some(arguments) => return Config::from_arguments(&arguments).map_err(explain),
                None => cli.config,
            }
        }
    };
    let name = file.config.display().to_string();
    let text = read(&file.config).map_err(|error| format!("{name}: {error}\n"))?;
    Config::parse(&name, &text, std::env::vars()).map_err(explain)
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| {
        let is_missing = error.kind() == std::io::ErrorKind::NotFound;
        let advice = if is_missing { "; name one with -c, or see natpulse --help" } else { "" };
        format!("{error}{advice}")
    })
}

fn start_logging(log: Log) {
    let builder =
        tracing_subscriber::fmt().with_max_level(log.level).with_target(false).with_writer(std::io::stderr);
    let is_terminal = std::io::stderr().is_terminal();
    match log.format {
        LogFormat::Json => builder.json().flatten_event(true).init(),
        LogFormat::Auto if !is_terminal => builder.json().flatten_event(true).init(),
        LogFormat::Auto | LogFormat::Text => builder.with_ansi(is_terminal).init(),
    }
}

async fn serve(config: Config) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let metrics = Metrics::new()?;
    let started = natpulse::networks::now();
    let (admin, bridges, window) = (config.admin.clone(), config.bridges.len(), config.server.drain_window);
    let told = config.events.as_ref().map(|events| webhook(events, &metrics)).transpose()?;
    let (queue, sender) = told.unzip();
    let proxy = Proxy::bind(config, &metrics, queue, raise_descriptor_limit()).await?;
    metrics.config_loaded(started);
    let drain = proxy.drain_token();
    let counted = Counted {
        metrics,
        drain: drain.clone(),
        sessions: proxy.sessions(),
        bridges: proxy.bridges(),
        networks: proxy.networks(),
        started,
    };
    if let Some(token) = admin.token.as_ref().filter(|token| token.is_exposed) {
        warn!(file = %token.file.display(), "everyone on this machine may read admin.token_file");
    }
    let address = admin.listen;
    let admin = Admin::bind(address, admin.token.map(|token| token.text), counted)
        .await
        .map_err(|error| format!("cannot listen on {address} (admin.listen): {error}"))?;
    info!(listen = %admin.address()?, "admin listening");
    tokio::spawn(admin.run());
    let all_told = CancellationToken::new();
    let delivering = sender.map(|sender| tokio::spawn(sender.run(drain.clone(), window, all_told.clone())));
    let serving = proxy.run();
    let running = async {
        serving.await;
        all_told.cancel();
        if let Some(delivering) = delivering {
            // It ends well, or has panicked and said so.
            let _ = delivering.await;
        }
    };
    info!(bridges, version = env!("CARGO_PKG_VERSION"), "serving");
    let stop = async {
        told_to_stop(&mut terminate, &mut interrupt).await;
        drain.cancel();
        told_to_stop(&mut terminate, &mut interrupt).await;
    };
    tokio::select! {
        () = running => Ok(ExitCode::SUCCESS),
        () = stop => {
            warn!("told to stop twice: leaving at once");
            Ok(ExitCode::FAILURE)
        }
    }
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

async fn told_to_stop(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Raises the soft limit of descriptors to the hard one, and returns what then holds.
fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let limit = if raised.is_ok() { limit.maximum } else { limit.current };
    limit.unwrap_or(u64::MAX)
}
