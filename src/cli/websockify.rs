//! websockify's command line: `[HOST:]PORT TARGET:PORT` and its flags, in the words of the config file.

use std::path::PathBuf;

use clap::{ArgAction, Args};

use crate::config::BridgeArguments;

/// The words of websockify: `[HOST:]PORT TARGET_HOST:TARGET_PORT`.
#[derive(Args, Debug)]
pub struct Websockify {
    /// As websockify: where WebSocket clients connect
    #[arg(value_name = "[HOST:]PORT")]
    pub source: Option<String>,
    /// As websockify: the TCP service they reach
    #[arg(value_name = "TARGET:PORT", requires = "source")]
    pub target: Option<String>,
    /// As websockify: reach a Unix socket, in the place of TARGET:PORT
    #[arg(long, value_name = "PATH", conflicts_with = "target", requires = "source")]
    pub unix_target: Option<PathBuf>,
    /// As websockify: who says whom a token stands for: TokenFile
    #[arg(long, value_name = "CLASS", requires = "source")]
    pub token_plugin: Option<String>,
    /// As websockify: a file of lines TOKEN: HOST:PORT, or a directory of such files
    #[arg(long, value_name = "PATH", requires = "token_plugin")]
    pub token_source: Option<String>,
    /// As websockify: the same as --token-plugin TokenFile --token-source PATH
    #[arg(long, value_name = "PATH", conflicts_with_all = ["token_plugin", "target", "unix_target"], requires = "source")]
    pub target_config: Option<String>,
    /// As websockify: serve the files of a directory on plain requests
    #[arg(long, value_name = "DIR", requires = "source")]
    pub web: Option<String>,
    /// As websockify: a certificate, with which clients may use TLS
    #[arg(long, value_name = "FILE", requires = "source")]
    pub cert: Option<String>,
    /// As websockify: its key, if that is not in the same file
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<String>,
    /// As websockify: let in nobody without TLS
    #[arg(long, requires = "cert")]
    pub ssl_only: bool,
    /// As websockify: ping clients that have been silent for so long
    #[arg(long, value_name = "SECONDS", requires = "source")]
    pub heartbeat: Option<u32>,
    /// As websockify: log more
    #[arg(short, long, requires = "source")]
    pub verbose: bool,
    /// What natpulse does in another way, or not at all.
    #[command(flatten)]
    pub foreign: Foreign,
}

/// Flags of websockify's that are known, to say what to use instead.
#[derive(Args, Debug)]
#[command(next_help_heading = None)]
pub struct Foreign {
    #[arg(short = 'D', long, hide = true)]
    daemon: bool,
    #[arg(long, hide = true)]
    run_once: bool,
    #[arg(long, hide = true)]
    timeout: Option<String>,
    #[arg(long, hide = true)]
    idle_timeout: Option<String>,
    #[arg(long, hide = true)]
    traffic: bool,
    #[arg(long, hide = true)]
    record: Option<String>,
    #[arg(long, hide = true)]
    key_password: Option<String>,
    #[arg(long, hide = true)]
    ssl_target: bool,
    #[arg(long, hide = true)]
    verify_client: bool,
    #[arg(long, hide = true)]
    cafile: Option<String>,
    #[arg(long, hide = true)]
    ssl_version: Option<String>,
    #[arg(long, hide = true)]
    ssl_ciphers: Option<String>,
    #[arg(long, hide = true)]
    unix_listen: Option<String>,
    #[arg(long, hide = true)]
    unix_listen_mode: Option<String>,
    #[arg(long, hide = true)]
    inetd: bool,
    #[arg(long, hide = true)]
    web_auth: bool,
    #[arg(long, hide = true)]
    auth_plugin: Option<String>,
    #[arg(long, hide = true)]
    auth_source: Option<String>,
    #[arg(long, hide = true)]
    wrap_mode: Option<String>,
    #[arg(short = '6', long, hide = true)]
    prefer_ipv6: bool,
    #[arg(long, hide = true, action = ArgAction::SetTrue)]
    libserver: bool,
    #[arg(long, hide = true)]
    host_token: bool,
    #[arg(long, hide = true)]
    file_only: bool,
    #[arg(long, hide = true)]
    log_file: Option<String>,
    #[arg(long, hide = true)]
    syslog: Option<String>,
    #[arg(long, hide = true)]
    legacy_syslog: Option<String>,
}

impl Foreign {
    /// What to say about the flags that were used, a line each.
    fn advice(&self) -> Vec<String> {
        let token = "access.token_file or access.jwt of a bridge in a config file";
        let client = "listen.tls.client_ca of a bridge in a config file";
        let ends = "a service manager, or timeout(1): natpulse serves until it is told to stop";
        let versions = "nothing: TLS 1.2 and 1.3 with safe ciphers is all that natpulse speaks";
        let log = "what standard error is redirected to: natpulse logs there";
        let all = [
            (self.daemon, "--daemon", "a service manager such as systemd, or `natpulse ... &`"),
            (self.run_once, "--run-once", ends),
            (self.timeout.is_some(), "--timeout", ends),
            (self.idle_timeout.is_some(), "--idle-timeout", ends),
            (self.traffic, "--traffic", "-v, and /metrics on the admin port"),
            (self.record.is_some(), "--record", "nothing: natpulse keeps no traffic; tcpdump(8) does"),
            (
                self.key_password.is_some(),
                "--key-password",
                "a key without one: openssl pkey -in KEY -out FILE",
            ),
            (self.ssl_target, "--ssl-target", "natpulse bridge, with tls://HOST:PORT as the backend"),
            (self.verify_client, "--verify-client", client),
            (self.cafile.is_some(), "--cafile", client),
            (self.ssl_version.is_some(), "--ssl-version", versions),
            (self.ssl_ciphers.is_some(), "--ssl-ciphers", versions),
            (self.unix_listen.is_some(), "--unix-listen", "127.0.0.1:PORT: browsers reach no Unix sockets"),
            (self.unix_listen_mode.is_some(), "--unix-listen-mode", "127.0.0.1:PORT"),
            (self.inetd, "--inetd", "[HOST:]PORT: natpulse does its own listening"),
            (self.web_auth, "--web-auth", token),
            (self.auth_plugin.is_some(), "--auth-plugin", token),
            (self.auth_source.is_some(), "--auth-source", token),
            (self.wrap_mode.is_some(), "--wrap-mode", "a service manager, which starts the program first"),
            (self.prefer_ipv6, "--prefer-ipv6", "[::]:PORT, which takes clients of both kinds"),
            (self.libserver, "--libserver", "nothing: there is one server"),
            (self.host_token, "--host-token", "?token= in the URL"),
            (self.file_only, "--file-only", "--web, with a TARGET:PORT"),
            (self.log_file.is_some(), "--log-file", log),
            (
                self.syslog.is_some(),
                "--syslog",
                "systemd-cat(1) or logger(1): natpulse logs to standard error",
            ),
            (self.legacy_syslog.is_some(), "--legacy-syslog", "systemd-cat(1) or logger(1)"),
        ];
        let used = all.iter().filter(|(is_used, ..)| *is_used);
        used.map(|(_, flag, instead)| format!("{flag} of websockify is not supported; use {instead}"))
            .collect()
    }
}

impl Websockify {
    /// The bridge in the words of the config file, if websockify's words were used.
    ///
    /// # Errors
    /// A source without a target, or what natpulse does not do, a line each.
    pub fn arguments(self) -> Result<Option<BridgeArguments>, String> {
        let mut advice = self.foreign.advice();
        let tokens = match (&self.token_plugin, self.token_source) {
            (Some(plugin), Some(source)) if is_token_file(plugin) => Some(source),
            (Some(plugin), None) if is_token_file(plugin) => {
                advice.push("--token-plugin TokenFile needs --token-source PATH".to_owned());
                None
            }
            (Some(plugin), _) => {
                advice.push(format!(
                    "--token-plugin {plugin} of websockify is not supported; use TokenFile, a backend URL with \
                     {{parameters}} in a config file, or access.jwt there to let clients in by a signed token"
                ));
                None
            }
            (None, _) => self.target_config,
        };
        if !advice.is_empty() {
            return Err(advice.join("\n"));
        }
        let Some(source) = self.source else {
            return Ok(None);
        };
        let backend = match (self.target, self.unix_target, &tokens) {
            (Some(target), ..) => format!("tcp://{target}"),
            (None, Some(path), _) => format!("unix://{}", path.display()),
            // The tokens say whom.
            (None, None, Some(_)) => String::new(),
            (None, None, None) => {
                return Err(format!(
                    "{source:?} is no command, and as websockify's [HOST:]PORT it needs a TARGET:PORT, --unix-target \
                     or --token-plugin"
                ));
            }
        };
        // websockify listens on every address unless told otherwise, and does not look at the path.
        let address = if source.contains(':') { source } else { format!("0.0.0.0:{source}") };
        let scheme = if self.cert.is_some() { "wss" } else { "ws" };
        let tls = self.cert.map(|cert| (cert.clone(), self.key.unwrap_or(cert), !self.ssl_only));
        Ok(Some(BridgeArguments {
            listen: format!("{scheme}://{address}/*"),
            tls,
            backend,
            targets: tokens,
            subprotocols: vec!["binary".into()],
            log_level: self.verbose.then(|| "debug".into()),
            web: self.web,
            // 0 is websockify's word for none.
            beat_every: self.heartbeat.filter(|seconds| *seconds > 0),
            ..BridgeArguments::default()
        }))
    }
}

/// Both of websockify's plugins read the same files; here they are always read again when they change.
fn is_token_file(plugin: &str) -> bool {
    matches!(plugin, "TokenFile" | "ReadOnlyTokenFile")
}
