//! A client that may name its backend reaches no more than it should.

use std::net::SocketAddr;
use std::process::Command as Blocking;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::process::Command;

use super::{attempts, counts, status, status_on};
use crate::harness::Natpulse;
use crate::namespace::Namespace;
use crate::process::Process;
use crate::tools::{TempDir, output, program};

/// A bridge `b` to whomever the path names, on this port.
fn config(port: u16, allow: &str) -> String {
    format!(
        "[[bridge]]\nname = \"b\"\nlisten = \"ws://127.0.0.1:0/vm/{{name}}\"\n\
         backend = {{ url = \"tcp://{{name}}:{port}\", {allow} }}\n"
    )
}

#[tokio::test]
async fn nobody_reaches_this_machine_by_any_of_its_names() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    // Each is allowed by name, so that only its address stands against it.
    let names = [
        "127.0.0.1",
        "127.1",
        "127.255.255.254",
        "localhost",
        "LOCALHOST",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "0.0.0.0",
        "0",
        "00",
        "169.254.169.254",
        "0xa9fea9fe",
        "2852039166",
        "192.0.0.192",
        "100.100.100.200",
        "224.0.0.1",
        "255.255.255.255",
    ];
    let allow: Vec<_> = names.iter().map(|name| format!("\"{name}:{port}\"")).collect();
    let natpulse = Natpulse::start(&config(port, &format!("allow = [{}]", allow.join(", ")))).await;
    for name in names {
        assert_eq!(status(natpulse.addr("b"), &format!("/vm/{name}")).await, 403, "{name}");
    }
    counts(&natpulse, &attempts("forbidden_target"), names.len() as f64).await;
    assert_eq!(
        natpulse.metrics().await["natpulse_backend_dials_total{bridge=\"b\",result=\"connected\"}"],
        0.0
    );
    natpulse.stop().await;

    // The same names lead there if their address is allowed.
    let allow = "allow = [\"*:*\"], allow_addresses = [\"127.0.0.0/8\"]";
    let natpulse = Natpulse::start(&config(port, allow)).await;
    for name in ["127.0.0.1", "localhost", "2130706433", "0x7f.1"] {
        assert_eq!(status(natpulse.addr("b"), &format!("/vm/{name}")).await, 101, "{name}");
    }
    for name in ["0.0.0.0", "169.254.169.254", "10.0.0.1"] {
        assert_eq!(status(natpulse.addr("b"), &format!("/vm/{name}")).await, 403, "{name}");
    }
    natpulse.stop().await;
}

#[tokio::test]
async fn a_name_is_a_name_and_nothing_else() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    let allow =
        format!("allow = [\"localhost:{port}\", \"*.test:{port}\"], allow_addresses = [\"127.0.0.1\"]");
    let natpulse = Natpulse::start(&config(port, &allow)).await;
    let addr = natpulse.addr("b");
    assert_eq!(status(addr, "/vm/localhost").await, 101);
    assert_eq!(status(addr, "/vm/%6cocalhost").await, 101);
    let unknown = [
        "/vm/",
        "/vm/localhost%3a80",
        "/vm/u%40localhost",
        "/vm/localhost%00",
        "/vm/%2e%2e",
        "/vm/a..b",
        "/vm/[::1]",
        "/vm/%5b::1%5d",
        "/vm/::ffff:127.0.0.1",
        "/vm/localhost%2f",
        "/vm/localhost%0d%0ax",
        "/vm/lo%zzcalhost",
        "/vm/localhost.",
        "/vm/localhost%23",
    ];
    for path in unknown {
        assert_eq!(status(addr, path).await, 404, "{path}");
    }
    for path in ["/vm/127.0.0.1", "/vm/localhost.example", "/vm/test", "/vm/a.test.example"] {
        assert_eq!(status(addr, path).await, 403, "{path}");
    }
    for path in ["/vm/localhost/", "/vm/localhost/x", "/vm", "/"] {
        assert_eq!(status(addr, path).await, 404, "{path}");
    }
    counts(&natpulse, &attempts("unknown_target"), unknown.len() as f64).await;
    counts(&natpulse, &attempts("forbidden_target"), 4.0).await;
    counts(&natpulse, &attempts("rejected"), 4.0).await;
    counts(&natpulse, &attempts("accepted"), 2.0).await;
    natpulse.stop().await;
}

/// A network of its own with a DNS server, which everything in it asks that is started with `resolving`.
struct Resolver {
    namespace: Namespace,
    _dnsmasq: Process,
    dir: TempDir,
}

impl Resolver {
    async fn start(records: &[&str]) -> Resolver {
        let name = format!("natpulse-it-{}-dns", std::process::id());
        let ip = |arguments: &str| {
            let mut command = Command::new(program("ip"));
            command.args(arguments.split(' '));
            output(Duration::from_secs(30), command)
        };
        ip(&format!("netns add {name}")).await;
        let namespace = Namespace::open(&name);
        ip(&format!("-n {name} link set lo up")).await;
        ip(&format!("netns delete {name}")).await;
        let dir = TempDir::new();
        std::fs::write(dir.path().join("resolv.conf"), "nameserver 127.0.0.1\n").unwrap();
        let mut dnsmasq = Blocking::new(program("dnsmasq"));
        dnsmasq
            .args(["--keep-in-foreground", "--log-facility=-", "--conf-file=/dev/null", "--pid-file="])
            .args([
                "--no-resolv",
                "--no-hosts",
                "--listen-address=127.0.0.1",
                "--bind-interfaces",
                "--user=root",
            ])
            .args(records.iter().map(|record| format!("--host-record={record}")));
        let dnsmasq = namespace.enter(|| Process::spawn(dnsmasq));
        dnsmasq.wait_line("that it serves", |line| line.contains("started, version").then_some(())).await;
        Resolver { namespace, _dnsmasq: dnsmasq, dir }
    }

    /// natpulse in this network, resolving names with its server.
    async fn natpulse(&self, config: &str) -> Natpulse {
        let resolv = self.dir.path().join("resolv.conf");
        Natpulse::launch_in(Some(&self.namespace), config, |command| {
            let mut inner = Blocking::new(program("unshare"));
            let script = "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";
            inner.args(["--mount", "sh", "-c", script]).arg(resolv);
            inner.arg(command.get_program()).args(command.get_args());
            *command = inner;
        })
        .await
    }

    async fn status(&self, addr: SocketAddr, path: &str) -> u16 {
        status_on(self.namespace.connect(addr), path).await
    }
}

#[tokio::test]
async fn what_a_name_resolves_to_decides() {
    let resolver = Resolver::start(&[
        "near.internal,127.0.0.1",
        "near6.internal,::1",
        "mapped.internal,::ffff:127.0.0.1",
        "metadata.internal,169.254.169.254",
        "any.internal,0.0.0.0",
        "both.internal,127.0.0.1,::1",
        "far.internal,192.0.2.1",
    ])
    .await;
    let server = resolver.namespace.listen("127.0.0.1:0".parse().unwrap());
    let port = server.local_addr().unwrap().port();
    let bridge = |name: &str, rest: &str| {
        format!(
            "[[bridge]]\nname = \"{name}\"\nlisten = \"ws://127.0.0.1:0/{name}/{{name}}\"\ndial_timeout = \"5s\"\n\
             backend = {{ url = \"tcp://{{name}}.internal:{port}\", allow = [\"*.internal:{port}\"]{rest} }}\n"
        )
    };
    let config = format!(
        "{}{}[admin]\nlisten = \"127.0.0.1:0\"\n",
        bridge("b", ""),
        bridge("inside", ", allow_addresses = [\"127.0.0.1\"]")
    );
    let natpulse = resolver.natpulse(&config).await;
    let addr = natpulse.addr("b");
    for name in ["near", "near6", "mapped", "metadata", "any", "both"] {
        assert_eq!(resolver.status(addr, &format!("/b/{name}")).await, 403, "{name}");
    }
    // There is no way to it from here, and nobody of that name.
    for name in ["far", "nobody"] {
        assert_eq!(resolver.status(addr, &format!("/b/{name}")).await, 502, "{name}");
    }
    for name in ["near", "both", "mapped"] {
        assert_eq!(resolver.status(addr, &format!("/inside/{name}")).await, 101, "{name}");
    }
    for name in ["near6", "metadata", "any", "far"] {
        assert_eq!(resolver.status(addr, &format!("/inside/{name}")).await, 403, "{name}");
    }
    natpulse.stop().await;
}
