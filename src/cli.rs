//! The command line.

mod pages;
mod websockify;

pub use websockify::{Foreign, Websockify};

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::config::{self, BridgeArguments};

/// A NAT-keepalive reverse proxy and sidecar: joins WebSocket and length-prefixed TCP, message by message.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do; `run` where nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The config file.
    #[command(flatten)]
    pub config: ConfigFile,
    /// websockify's words.
    #[command(flatten)]
    pub websockify: Websockify,
}

const EXAMPLES: &str = "Examples:
  natpulse                                  serve what ./config.toml says
  natpulse check                            list everything that is wrong with ./config.toml
  natpulse 8080 localhost:5900              as websockify: browsers on 8080 reach the VNC server
  natpulse 8080 --web novnc --token-plugin TokenFile --token-source vms.cfg
                                            the same for many, with noVNC's own pages
  natpulse bridge ws://0.0.0.0:8080/im tcp://127.0.0.1:9000 --framing u32be
                                            one WebSocket message is one length-prefixed record
  natpulse bridge tcp://127.0.0.1:9000 ws://example.com:8080/im --framing u32be
                                            the other way: a legacy client crosses a NAT
  natpulse probe ws://example.com:8080/im   how long this network keeps a silent connection
  natpulse simulate --timeout 180           what each heartbeat policy costs and whom it loses
  natpulse status                           whether it serves, and how many
  natpulse top                              who is connected, and what is known of networks

Settings of the config file can be overridden: NATPULSE__ADMIN__LISTEN=0.0.0.0:9464,
NATPULSE__BRIDGE__0__MAX_MESSAGE=1MiB.
Exit status: 0 after a clean end, 1 after a failure at run time, 2 for a wrong command line or config.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve what the config file says (the default)
    Run(ConfigFile),
    /// Validate the config file, list every error, print the effective config
    Check(ConfigFile),
    /// Serve one bridge without a config file
    Bridge(Box<BridgeCommand>),
    /// Measure how long the network one sits in keeps a silent connection
    Probe(Probe),
    /// Compare heartbeat policies over models of NATs, in virtual time
    Simulate(Simulate),
    /// Watch a running natpulse in a terminal
    Top(Top),
    /// Ask a running natpulse how it is
    Status(Status),
    /// Have a running natpulse accept nobody any more, and let everyone finish
    Drain(Drain),
    /// Print what makes a shell complete these words
    Completions(Completions),
    /// Print the man page, or write all pages into a directory
    Man(Man),
}

/// Which config file.
#[derive(Args, Clone, Debug)]
pub struct ConfigFile {
    /// The config file
    #[arg(short, long, value_name = "FILE", default_value = "config.toml")]
    pub config: PathBuf,
}

/// What is measured.
#[derive(Args, Clone, Debug)]
#[command(after_help = PROBE_HELP)]
pub struct Probe {
    /// A natpulse beyond the network: ws://HOST:PORT/path or wss://HOST:PORT/path of one of its bridges
    pub url: String,
    /// The file with the roots of its certificate, as PEM [default: those of the system]
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Believe whoever answers: anyone in between can pretend to be it
    #[arg(long, conflicts_with = "ca")]
    pub insecure_skip_verify: bool,
    /// The file whose first line is the token that the bridge asks for
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Print JSON instead of text
    #[arg(long)]
    pub json: bool,
    /// The longest silence to try
    #[arg(long, value_name = "DURATION", default_value = "600s", value_parser = duration)]
    pub max: Duration,
    /// The shortest silence to try
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = duration)]
    pub min: Duration,
    /// How many connections to leave silent at once
    #[arg(long, value_name = "COUNT", default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub probes: u8,
    /// How narrow the result is to be: 2% to 7%
    #[arg(long, value_name = "PERCENT", default_value = "5%", value_parser = percent)]
    pub precision: u16,
}

const PROBE_HELP: &str =
    "Connections that carry nothing are left silent for different times, and then the far \
natpulse speaks first. Most networks need about four times as long as they keep a silent connection.

Exit status: 0 after a result, 1 without one, 2 for a wrong command line.";

/// A silence of at least 100 ms, under which round trips are all there is to measure, and at most a day.
fn duration(text: &str) -> Result<Duration, String> {
    let rule = || "a duration such as 500ms, 30s, 5m or 1h, from 100ms to 24h".to_owned();
    let is_sane = |duration: &Duration| (100..=86_400_000).contains(&duration.as_millis());
    config::duration(text).filter(is_sane).ok_or_else(rule)
}

/// A percentage in thousandths.
fn percent(text: &str) -> Result<u16, String> {
    let percent = text.strip_suffix('%').and_then(|number| number.parse().ok());
    let percent = percent.filter(|percent| (2..=7).contains(percent));
    percent.map(|percent: u16| percent * 10).ok_or_else(|| "a percentage from 2% to 7%".to_owned())
}

/// What is simulated.
#[derive(Args, Clone, Copy, Debug)]
pub struct Simulate {
    /// How long the NATs keep a silent connection, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u32).range(2..=604_800))]
    pub timeout: u32,
    /// How many connections share a network
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub connections: u32,
    /// How long each run lasts, in days of virtual time
    #[arg(long, value_name = "DAYS", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=365))]
    pub days: u32,
    /// The same seed gives the same table
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Whose completions are printed.
#[derive(Args, Clone, Copy, Debug)]
pub struct Completions {
    /// The shell
    pub shell: Shell,
}

/// Where man pages go.
#[derive(Args, Clone, Debug)]
pub struct Man {
    /// A directory for natpulse(1), a page for each subcommand, and natpulse.toml(5)
    pub dir: Option<PathBuf>,
}

/// What is watched.
#[derive(Args, Clone, Debug)]
#[command(after_help = TOP_HELP)]
pub struct Top {
    /// Which natpulse.
    #[command(flatten)]
    pub port: AdminPort,
    /// Print everything once, as text
    #[arg(long)]
    pub once: bool,
}

/// The admin port of a running natpulse.
#[derive(Args, Clone, Debug)]
pub struct AdminPort {
    /// The admin port of a running natpulse: http://HOST:PORT
    #[arg(value_name = "ADMIN_URL", default_value = "http://127.0.0.1:9464")]
    pub url: String,
    /// The file whose first line is the token of that admin port, as in its admin.token_file
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// Who is asked.
#[derive(Args, Clone, Debug)]
#[command(after_help = STATUS_HELP)]
pub struct Status {
    /// Which natpulse.
    #[command(flatten)]
    pub port: AdminPort,
    /// Print what /api/status says, as JSON
    #[arg(long)]
    pub json: bool,
    /// Only see whether it is alive, draining or not: for health checks, and takes no token
    #[arg(long, conflicts_with = "json")]
    pub alive: bool,
}

const STATUS_HELP: &str = "NATPULSE_TOKEN may hold the token itself.
Exit status: 0 if it takes new clients, 1 if it cannot be asked, 2 for a wrong command line, 3 while it drains. With --alive 0 then, too.";

/// Who is to leave.
#[derive(Args, Clone, Debug)]
#[command(after_help = DRAIN_HELP)]
pub struct Drain {
    /// Which natpulse.
    #[command(flatten)]
    pub port: AdminPort,
    /// Come back when its last session has gone, or its drain window is over
    #[arg(long)]
    pub wait: bool,
}

const DRAIN_HELP: &str =
    "The process stays, and its admin port with it, until SIGTERM ends it. It takes the token of \
the admin port, also on the same machine. NATPULSE_TOKEN may hold the token itself.
Exit status: 0 if it drains, and with --wait when nobody is left; 1 if it cannot be asked, or sessions were left when \
the window was over; 2 for a wrong command line.";

const TOP_HELP: &str = "Keys: s sorts the sessions by something else, r reverses them, / filters them, arrows and \
PgUp, PgDn, Home and End scroll, q ends it.

NATPULSE_TOKEN may hold the token itself. NO_COLOR turns colours off.
Exit status: 0 after a clean end, 1 when --once had no answer or the terminal cannot be used, 2 for a wrong command line.";

/// One bridge.
#[derive(Args, Debug)]
pub struct BridgeCommand {
    /// Where clients connect: ws://ADDRESS:PORT/path, tcp://ADDRESS:PORT or unix:///path; wss: and tls: with --cert and --key
    pub listen: String,
    /// Whom they reach: tcp://HOST:PORT, ws://HOST:PORT/path, tls: or wss: the same way, unix:///path or echo:
    pub backend: String,
    /// How tcp and unix ends are cut into messages: raw, u8, u16be, u32be, u32le, varint, line, dns, mysql …
    #[arg(long, value_name = "FRAMING")]
    pub framing: Option<String>,
    /// The same for the listening end alone
    #[arg(long, value_name = "FRAMING")]
    pub listen_framing: Option<String>,
    /// The same for the backend alone
    #[arg(long, value_name = "FRAMING")]
    pub backend_framing: Option<String>,
    /// What a record becomes on a WebSocket: binary, text, or mirror (the kind last received from it)
    #[arg(long, value_name = "KIND")]
    pub message: Option<String>,
    /// Longest message [default: 16MiB]
    #[arg(long, value_name = "SIZE")]
    pub max_message: Option<String>,
    /// A subprotocol that WebSocket ends may agree on; may be repeated
    #[arg(long = "subprotocol", value_name = "NAME")]
    pub subprotocols: Vec<String>,
    /// An origin whose pages may connect, scheme and host and all; may be repeated [default: the page's own server]
    #[arg(long = "origin", value_name = "ORIGIN")]
    pub origins: Vec<String>,
    /// The file with the certificate that clients are shown and those it depends on, as PEM
    #[arg(long, value_name = "FILE", requires = "key")]
    pub cert: Option<String>,
    /// The file with its private key, as PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<String>,
    /// The file with the roots of the backend's certificate, as PEM [default: those of the system]
    #[arg(long, value_name = "FILE")]
    pub ca: Option<String>,
    /// Where the admin port listens [default: 127.0.0.1:9464]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub admin: Option<String>,
    /// What is logged: error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
}

impl BridgeCommand {
    /// The bridge in the words of the config file.
    pub fn arguments(self) -> BridgeArguments {
        BridgeArguments {
            listen: self.listen,
            backend: self.backend,
            framing: self.framing,
            listen_framing: self.listen_framing,
            backend_framing: self.backend_framing,
            message: self.message,
            max_message: self.max_message,
            subprotocols: self.subprotocols,
            origins: self.origins,
            admin: self.admin,
            log_level: self.log_level,
            tls: self.cert.zip(self.key).map(|(cert, key)| (cert, key, false)),
            ca: self.ca,
            ..BridgeArguments::default()
        }
    }
}
