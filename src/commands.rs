//! The commands of `natpulse` that serve nobody: they measure, simulate, or ask a natpulse that runs.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use natpulse::cli::{AdminPort, Drain, Probe, Simulate, Status, Top};
use natpulse::link::BackendUrl;
use natpulse::link::tls::ClientTls;
use natpulse::operator::{self, Client};
use natpulse::probe::{Measurement, measure};
use natpulse::simulate::{self, Comparison};
use natpulse::top;

use super::USAGE;

/// Exit status of `natpulse status` for a natpulse that takes no new clients.
const LEAVING: u8 = 3;

/// Measures the network, and says what came of it.
pub(crate) fn probed(probe: &Probe) -> ExitCode {
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
        Err((code, text)) => failed(code, &format!("natpulse probe: {text}")),
    }
}

/// Shows a running natpulse.
pub(crate) fn watched(top: &Top) -> ExitCode {
    asked("top", &top.port, async |client| {
        if top.once {
            let text = top::once(client).await?;
            write(&text)?;
        } else {
            // https://no-color.org: any value but none.
            let is_coloured = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            top::watch(client, is_coloured).await?;
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Tells how a running natpulse is.
pub(crate) fn told(status: &Status) -> ExitCode {
    asked("status", &status.port, async |client| {
        if status.alive {
            write(&operator::alive(client).await?)?;
            return Ok(ExitCode::SUCCESS);
        }
        let (text, is_leaving) = operator::status(client, status.json).await?;
        write(&text)?;
        Ok(if is_leaving { ExitCode::from(LEAVING) } else { ExitCode::SUCCESS })
    })
}

/// Has a running natpulse drain.
pub(crate) fn drained(drain: &Drain) -> ExitCode {
    asked("drain", &drain.port, async |client| {
        let mut out = std::io::stdout();
        let is_terminal = out.is_terminal();
        let (text, is_clean) = operator::drain(client, drain.wait, is_terminal.then_some(&mut out)).await?;
        // Over the line of progress.
        let start = if is_terminal { "\r\x1b[K" } else { "" };
        write(&format!("{start}{text}\n"))?;
        Ok(if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

/// Has something asked of an admin port by the command of this name.
fn asked(
    name: &str,
    port: &AdminPort,
    ask: impl AsyncFnOnce(Client) -> Result<ExitCode, String>,
) -> ExitCode {
    let client = token(port).and_then(|token| Client::new(&port.url, token.as_deref()));
    let asked = client.map_err(|text| (USAGE, text)).and_then(|client| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| (1, format!("cannot start the runtime: {error}")))?;
        runtime.block_on(ask(client)).map_err(|text| (1, text))
    });
    asked.unwrap_or_else(|(code, text)| failed(code, &format!("natpulse {name}: {text}")))
}

/// Says why a command has failed that serves nobody.
pub(crate) fn failed(code: u8, text: &str) -> ExitCode {
    #[expect(clippy::print_stderr, reason = "this is for whoever typed the command")]
    {
        eprintln!("{text}");
    }
    ExitCode::from(code)
}

fn write(text: &str) -> Result<(), String> {
    std::io::stdout().write_all(text.as_bytes()).map_err(|error| format!("cannot write: {error}"))
}

/// The token that opens the admin port, if one was named.
fn token(port: &AdminPort) -> Result<Option<String>, String> {
    let Some(file) = &port.token_file else {
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
pub(crate) fn simulated(simulate: Simulate) -> String {
    let comparison = Comparison {
        timeout: Duration::from_secs(simulate.timeout.into()),
        connections: simulate.connections,
        length: Duration::from_secs(u64::from(simulate.days) * 24 * 3600),
        seed: simulate.seed,
    };
    let rows = simulate::compare(&comparison);
    if simulate.json { simulate::json(&comparison, &rows) } else { simulate::text(&comparison, &rows) }
}
