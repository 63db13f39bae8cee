//! The `natpulse` program: arguments, logging, runtime, exit code.

mod commands;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use natpulse::cli::{Cli, Command};
use natpulse::config::{Config, ConfigError, Log, LogFormat};
use natpulse::link::Inherited;
use natpulse::server;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::level_filters::LevelFilter;
use tracing::{Level, error, warn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt, reload};

/// Exit status for a wrong command line or config, as clap has it.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(Command::Simulate(simulate)) = cli.command {
        #[expect(clippy::print_stdout, reason = "this is what was asked for")]
        {
            print!("{}", commands::simulated(simulate));
        }
        return ExitCode::SUCCESS;
    }
    if let Some(Command::Probe(probe)) = cli.command {
        return commands::probed(&probe);
    }
    if let Some(Command::Top(top)) = cli.command {
        return commands::watched(&top);
    }
    if let Some(Command::Status(status)) = cli.command {
        return commands::told(&status);
    }
    if let Some(Command::Drain(drain)) = cli.command {
        return commands::drained(&drain);
    }
    if let Some(written) = cli.pages() {
        let failed = |error| commands::failed(1, &format!("natpulse: cannot write: {error}"));
        return written.map_or_else(failed, |()| ExitCode::SUCCESS);
    }
    let is_check = matches!(cli.command, Some(Command::Check(_)));
    let (config, file) = match load(cli) {
        Ok(loaded) => loaded,
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
    // Before there are other threads.
    let inherited = Inherited::from_environment();
    let set_level = start_logging(config.log);
    config.warnings().iter().for_each(|warning| warn!("{warning}"));
    give_back_at_once();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            error!(%error, "cannot start the runtime");
            return ExitCode::FAILURE;
        }
    };
    let serving = server::run(config, file, inherited, raise_descriptor_limit(), set_level);
    match runtime.block_on(serving) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            error!(error, "cannot serve");
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

/// Makes a config of the command line, with the file that it was read from, if any; or the text that explains why not.
fn load(cli: Cli) -> Result<(Config, Option<PathBuf>), String> {
    let explain =
        |errors: Vec<ConfigError>| errors.iter().map(|error| format!("{error}\n")).collect::<String>();
    let file = match cli.command {
        Some(Command::Bridge(bridge)) => {
            let config = Config::from_arguments(&bridge.arguments()).map_err(explain)?;
            return Ok((config, None));
        }
        Some(Command::Run(file) | Command::Check(file)) => file,
        Some(
            Command::Probe(_)
            | Command::Simulate(_)
            | Command::Top(_)
            | Command::Status(_)
            | Command::Drain(_)
            | Command::Completions(_)
            | Command::Man(_),
        )
        | None => match cli.websockify.arguments().map_err(|error| format!("{error}\n"))? {
            Some(arguments) => return Ok((Config::from_arguments(&arguments).map_err(explain)?, None)),
            None => cli.config,
        },
    };
    let config = server::read(&file.config);
    let config =
        config.map_err(|errors| errors.iter().map(|error| format!("{error}\n")).collect::<String>())?;
    Ok((config, Some(file.config)))
}

/// Begins to log, and returns what changes how much.
fn start_logging(log: Log) -> impl Fn(Level) {
    let (filter, handle) = reload::Layer::new(LevelFilter::from_level(log.level));
    let is_terminal = std::io::stderr().is_terminal();
    let lines = fmt::layer().with_target(false).with_writer(std::io::stderr);
    let lines = match log.format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Auto if !is_terminal => lines.json().flatten_event(true).boxed(),
        LogFormat::Auto | LogFormat::Text => lines.with_ansi(is_terminal).boxed(),
    };
    tracing_subscriber::registry().with(filter).with(lines).init();
    move |level| {
        // The subscriber is there for as long as the process.
        let _ = handle.reload(LevelFilter::from_level(level));
    }
}

/// Raises the soft limit of descriptors to the hard one, and returns what then holds.
fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let limit = if raised.is_ok() { limit.maximum } else { limit.current };
    limit.unwrap_or(u64::MAX)
}
