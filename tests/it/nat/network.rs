//! A network behind a NAT, made of three namespaces of this kernel:
//!
//! ```text
//!     device                      NAT                        server
//!     10.0.0.0/24, 192.168.0.2    192.168.0.1 198.51.100.1   198.51.100.2
//! ```
//!
//! The NAT is Linux's own, as in millions of routers: connection tracking, and masquerading for whatever comes
//! from the device side. Every [`Nat`] has namespaces of its own, so all use the same addresses side by side.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, geteuid, kill_process};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::namespace::{NAMED, Namespace};
use crate::process::{PATIENCE, within};
use crate::tools::{TempDir, output, program};

/// Every namespace made here is called this, followed by the process, a number and a role.
const PREFIX: &str = "natpulse-it-";
const ROLES: [&str; 3] = ["device", "nat", "server"];

/// The server's address, and the one from which it sees every client come.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

/// The NAT lets its clients' connections out, and in what belongs to them. The rest goes through `unknown`,
/// which is empty, and is then dropped. `cut` stands before connection tracking: what it drops keeps nothing
/// alive.
const RULES: &str = r#"
    table ip nat {
        counter outbound { }
        counter inbound { }
        counter cut { }
        chain cut {
            type filter hook prerouting priority raw; policy accept;
        }
        chain forward {
            type filter hook forward priority filter; policy drop;
            ct state established accept
            iifname "inside" ct state new accept
            iifname "inside" counter name outbound jump unknown
        }
        chain input {
            type filter hook input priority filter; policy drop;
            iifname "outside" counter name inbound jump unknown
        }
        chain unknown {
        }
        chain postrouting {
            type nat hook postrouting priority srcnat; policy accept;
            oifname "outside" masquerade
        }
    }
"#;

/// What the NAT remembers of a connection.
#[derive(Debug)]
pub struct Mapping {
    /// The client's address as it is on the device side.
    pub client: SocketAddr,
    /// Until it is forgotten, in whole seconds, rounded down.
    left: Duration,
}

/// How many packets the NAT has refused, in each direction those of connections that it does not know.
#[derive(Clone, Copy, Debug)]
pub struct Refused {
    pub outbound: u64,
    pub inbound: u64,
    /// Dropped while the path was cut.
    pub cut: u64,
}

pub struct Nat {
    /// What the three namespaces' names have in common.
    name: String,
    pub device: Namespace,
    nat: Namespace,
    pub server: Namespace,
}

impl Nat {
    /// A NAT that forgets a connection on which no packet has crossed for `timeout`, which is in whole seconds.
    /// What it does not know it drops without a word, in both directions.
    pub async fn start(timeout: Duration) -> Nat {
        assert!(geteuid().is_root(), "this test makes network namespaces, and so needs to run as root");
        static LEFTOVERS: OnceCell<()> = OnceCell::const_new();
        LEFTOVERS.get_or_init(remove_leftovers).await;

        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{PREFIX}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let [device, nat, server] = ROLES.map(|role| format!("{name}-{role}"));
        ip(&[
            &format!("netns add {device}"),
            &format!("netns add {nat}"),
            &format!("netns add {server}"),
            &format!("link add inside netns {nat} type veth peer name uplink netns {device}"),
            &format!("link add outside netns {nat} type veth peer name public netns {server}"),
        ])
        .await;
        // From here on dropping it removes the namespaces.
        let made = Nat {
            name,
            device: Namespace::open(&device),
            nat: Namespace::open(&nat),
            server: Namespace::open(&server),
        };
        ip_in(
            &device,
            &[
                "link set lo up",
                "addr add 192.168.0.2/30 dev uplink",
                "link set uplink up",
                "route add default via 192.168.0.1",
                // All of these are the device's own, without naming each.
                "route add local 10.0.0.0/24 dev lo",
            ],
        )
        .await;
        ip_in(
            &nat,
            &[
                "addr add 192.168.0.1/30 dev inside",
                &format!("addr add {OUTSIDE}/24 dev outside"),
                "link set inside up",
                "link set outside up",
                "route add 10.0.0.0/24 via 192.168.0.2",
            ],
        )
        .await;
        ip_in(
            &server,
            &["link set lo up", &format!("addr add {SERVER}/24 dev public"), "link set public up"],
        )
        .await;
        made.nft(RULES).await;
        made.set("ipv4/ip_forward", 1);
        made.timeout(timeout);
        made.recreates(false);
        made
    }

    /// Connects from the device side, from the client of this number, of which each has an address of its own.
    pub async fn client(&self, number: u8, server: SocketAddr) -> io::Result<TcpStream> {
        let socket = self.device.socket();
        socket.bind(SocketAddr::from((Ipv4Addr::new(10, 0, 0, number), 0))).unwrap();
        socket.connect(server).await
    }

    /// From now on every packet gives its connection this long, in whole seconds. Who stays silent keeps what it
    /// was given.
    pub fn timeout(&self, timeout: Duration) {
        assert!(timeout.subsec_nanos() == 0 && timeout > Duration::ZERO, "the kernel counts seconds");
        self.set("netfilter/nf_conntrack_tcp_timeout_established", timeout.as_secs());
    }

    /// Whether an outbound packet of a connection that was forgotten makes the NAT know it again.
    pub fn recreates(&self, recreates: bool) {
        self.set("netfilter/nf_conntrack_tcp_loose", u64::from(recreates));
    }

    /// Answers packets of unknown connections with a reset, in both directions, instead of dropping them.
    pub async fn resets_unknown(&self) {
        self.nft("add rule ip nat unknown reject with tcp reset").await;
    }

    /// Drops every packet from now on, in both directions and without a word.
    pub async fn cut(&self) {
        self.nft("add rule ip nat cut counter name cut drop").await;
    }

    /// Ends what [`Nat::cut`] began.
    pub async fn restore(&self) {
        self.nft("flush chain ip nat cut").await;
    }

    pub async fn refused(&self) -> Refused {
        let listing = self.run("nft", &["-j", "list counters table ip nat"]).await;
        let listing: Value = serde_json::from_str(&listing).unwrap();
        let counters = listing["nftables"].as_array().unwrap().iter().map(|entry| &entry["counter"]);
        let packets = |name: &str| {
            let counter = counters.clone().find(|counter| counter["name"] == name).unwrap();
            counter["packets"].as_u64().unwrap()
        };
        Refused { outbound: packets("outbound"), inbound: packets("inbound"), cut: packets("cut") }
    }

    /// Waits until the packets that the NAT has refused are as many as `enough` asks for. A kernel that gets no
    /// answer sends the same again after 0.2 s, 0.4 s, 0.8 s and so on, so a few of them are the sign that it
    /// waits in vain.
    pub async fn refuses(&self, what: &str, enough: impl Fn(Refused) -> bool) {
        within(&format!("the NAT to refuse {what}"), async {
            while !enough(self.refused().await) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    /// The connections that the NAT would let a packet through for. The kernel removes what is overdue only now
    /// and then, but neither lists it nor lets anything through for it.
    pub async fn mappings(&self) -> Vec<Mapping> {
        let listing = self.run("conntrack", &["-L", "-p", "tcp"]).await;
        listing.lines().map(mapping).collect()
    }

    /// Waits until the NAT knows none of the connections that `pick` says yes to. Its timeout must be well under
    /// [`PATIENCE`].
    pub async fn forgets(&self, pick: impl Fn(&Mapping) -> bool) {
        within("the NAT to forget", async {
            while let Some(left) = self
                .mappings()
                .await
                .iter()
                .filter(|&mapping| pick(mapping))
                .map(|mapping| mapping.left)
                .max()
            {
                tokio::time::sleep(left.max(Duration::from_millis(10))).await;
            }
        })
        .await;
    }

    fn set(&self, name: &str, value: u64) {
        // What stands in /proc/sys/net depends on who looks.
        let path = format!("/proc/sys/net/{name}");
        let written = self.nat.enter(|| fs::write(&path, value.to_string()));
        written.unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    async fn nft(&self, rules: &str) {
        self.run("nft", &[rules]).await;
    }

    /// Runs a program inside the NAT, and returns what it printed.
    async fn run(&self, name: &str, args: &[&str]) -> String {
        let mut command = Command::new(program("ip"));
        command.args(["netns", "exec", &format!("{}-nat", self.name)]).arg(program(name)).args(args);
        output(PATIENCE, command).await
    }
}

impl Drop for Nat {
    fn drop(&mut self) {
        for role in ROLES {
            let mut command = std::process::Command::new(program("ip"));
            command.args(["netns", "del", &format!("{}-{role}", self.name)]).stderr(Stdio::null());
            let _ = command.status();
        }
    }
}

/// A line of conntrack's, which has every address twice, first as the client sees it:
/// `tcp 6 5 ESTABLISHED src=10.0.0.2 dst=198.51.100.2 sport=40000 dport=80 src=198.51.100.2 dst=...`
fn mapping(line: &str) -> Mapping {
    let words: Vec<&str> = line.split_whitespace().collect();
    let mut fields = HashMap::new();
    for (key, value) in words.iter().filter_map(|word| word.split_once('=')) {
        fields.entry(key).or_insert(value);
    }
    let address: IpAddr = fields["src"].parse().expect(line);
    Mapping {
        client: SocketAddr::new(address, fields["sport"].parse().expect(line)),
        left: Duration::from_secs(words[2].parse().expect(line)),
    }
}

async fn ip(lines: &[&str]) {
    batch(Command::new(program("ip")), lines).await;
}

async fn ip_in(namespace: &str, lines: &[&str]) {
    let mut command = Command::new(program("ip"));
    command.args(["-n", namespace]);
    batch(command, lines).await;
}

async fn batch(mut command: Command, lines: &[&str]) {
    let dir = TempDir::new();
    let file = dir.path().join("batch");
    fs::write(&file, lines.join("\n")).unwrap();
    command.arg("-batch").arg(&file);
    output(PATIENCE, command).await;
}

/// Removes what a run that was killed has left, and ends what it left running there.
async fn remove_leftovers() {
    // Nobody may have made one yet.
    let Ok(named) = fs::read_dir(NAMED) else { return };
    for entry in named {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(run) = name.strip_prefix(PREFIX) else { continue };
        let pid: u32 = run.split('-').next().unwrap().parse().unwrap();
        // This process has made none so far: its number has come round again.
        if pid != std::process::id() && fs::exists(format!("/proc/{pid}")).unwrap() {
            continue;
        }
        let mut pids = Command::new(program("ip"));
        pids.args(["netns", "pids", &name]);
        for pid in output(PATIENCE, pids).await.lines() {
            let _ = kill_process(Pid::from_raw(pid.parse().unwrap()).unwrap(), Signal::KILL);
        }
        ip(&[&format!("netns del {name}")]).await;
    }
}
