//! A machine of its own for a recipe: a network, `/etc`, `/run` and a home, where every port and path is free.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};

use crate::harness::{Page, exchange};
use crate::namespace::Namespace;
use crate::process::{PATIENCE, Process, within};
use crate::tools::{TempDir, output, program};

/// Puts the directories `$0` in the place of the machine's own, and runs `$1` in its home.
const ENTER: &str = r#"
for place in etc run usr/share; do
    if [ -d "$0/$place" ]; then mount --bind "$0/$place" "/$place" || exit 1; fi
done
cd "$0/home" && exec sh -c "exec $1"
"#;

pub struct Place {
    pub namespace: Namespace,
    dir: TempDir,
}

impl Place {
    /// A machine that has these addresses, and knows them by these names.
    pub async fn new(hosts: &[(&str, &str)]) -> Place {
        let (namespace, dir) = (Namespace::alone().await, TempDir::new());
        let place = Place { namespace, dir };
        fs::create_dir(place.path("home")).unwrap();
        fs::create_dir(place.path("run")).unwrap();
        let mut copy = tokio::process::Command::new("cp");
        copy.args(["-a", "/etc"]).arg(place.path("etc"));
        output(PATIENCE, copy).await;
        place.write("etc/hosts", "127.0.0.1 localhost\n");
        for (address, name) in hosts {
            if !address.starts_with("127.") {
                place.ip(&format!("address add {address}/32 dev lo"));
            }
            place.knows(address, name);
        }
        place
    }

    /// Two machines on one wire: 192.0.2.1 and 192.0.2.2.
    pub async fn pair() -> (Place, Place) {
        let (one, other) = (Place::new(&[]).await, Place::new(&[]).await);
        let far = other.namespace.path();
        one.ip(&format!("link add wire type veth peer name wire netns {}", far.display()));
        for (place, address) in [(&one, "192.0.2.1"), (&other, "192.0.2.2")] {
            place.ip(&format!("address add {address}/24 dev wire"));
            place.ip("link set wire up");
        }
        (one, other)
    }

    fn ip(&self, arguments: &str) {
        let mut command = Command::new(program("ip"));
        command.args(arguments.split(' '));
        let ended = self.namespace.enter(|| command.output()).unwrap();
        assert!(ended.status.success(), "ip {arguments}: {ended:?}");
    }

    /// Has a name lead to an address.
    pub fn knows(&self, address: &str, name: &str) {
        let hosts = fs::read_to_string(self.path("etc/hosts")).unwrap();
        self.write("etc/hosts", &format!("{hosts}{address} {name}\n"));
    }

    /// Where a path of the machine, without its first slash, or below its `home`, lies in truth.
    pub fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// Writes a file that only its owner may read, as a careful administrator does.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        let mode = if path.starts_with(self.path("etc/natpulse")) { 0o600 } else { 0o644 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// What a shell of this machine makes of a line, as soon as it runs.
    pub fn shell(&self, line: &str) -> Process {
        let built = Path::new(env!("CARGO_BIN_EXE_natpulse")).parent().unwrap();
        let path = format!("{}:{}", built.display(), std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new(program("unshare"));
        command.args(["--mount", "sh", "-c", ENTER]).arg(self.dir.path()).arg(line).env("PATH", path);
        self.namespace.enter(|| Process::spawn(command))
    }

    /// What a line prints until it ends, and its exit code.
    pub async fn run(&self, line: &str) -> (Vec<String>, Option<i32>) {
        let mut process = self.shell(line);
        let code = process.exit().await.code();
        (process.lines(), code)
    }

    /// A natpulse that a line starts, when it serves.
    pub async fn serve(&self, line: &str) -> Process {
        let natpulse = self.shell(line);
        natpulse.wait_line("that it serves", |line| line.contains("\"serving\"").then_some(())).await;
        natpulse
    }

    /// A natpulse with this config.
    pub async fn serve_config(&self, config: &str) -> Process {
        self.write("home/config.toml", config);
        self.serve("natpulse").await
    }

    pub fn listen(&self, addr: &str) -> TcpListener {
        self.namespace.listen(addr.parse().unwrap())
    }

    pub async fn connect(&self, addr: &str) -> TcpStream {
        within(addr, self.namespace.connect(addr.parse().unwrap())).await.unwrap()
    }

    /// A connection from one of this machine's addresses.
    pub async fn connect_from(&self, host: &str, addr: &str) -> TcpStream {
        let socket = self.namespace.socket();
        socket.bind(SocketAddr::new(host.parse().unwrap(), 0)).unwrap();
        within(addr, socket.connect(addr.parse().unwrap())).await.unwrap()
    }

    /// An HTTP request, and its answer.
    pub async fn ask(&self, addr: &str, path: &str, lines: &str) -> Page {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\n{lines}Connection: close\r\n\r\n");
        exchange(self.namespace.connect(addr.parse().unwrap()), &request).await
    }

    /// A WebSocket on a port of this machine, with more header lines; the status if there is none.
    pub async fn ws(
        &self,
        stream: TcpStream,
        path: &str,
        lines: &[(&str, &str)],
    ) -> Result<WebSocketStream<TcpStream>, u16> {
        let url = format!("ws://{}{path}", stream.peer_addr().unwrap());
        let mut request = url.as_str().into_client_request().unwrap();
        for (name, value) in lines {
            let name: HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
        }
        match within(&url, tokio_tungstenite::client_async(request, stream)).await {
            Ok((ws, _)) => Ok(ws),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{url}: {error}"),
        }
    }
}
