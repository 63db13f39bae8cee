//! Connections through a real NAT, the kernel's own, that forgets those that are silent for too long.

mod busy;
mod control;
mod cut;
pub mod network;
mod plain;
mod watched;

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpListener;

use self::network::{Nat, SERVER};
use crate::ends::{Framing, Receiver, Sender, stream_end};
use crate::harness::Natpulse;
use crate::process::within;

/// natpulse on both sides of a NAT, TCP into the first, WebSocket through the NAT, and TCP from the second to a
/// service that the test plays itself, so that it sees what arrives and may speak first.
pub struct Crossing<'nat> {
    nat: &'nat Nat,
    pub near: Natpulse,
    pub far: Natpulse,
    service: TcpListener,
}

impl Crossing<'_> {
    /// Both with these settings of a bridge, or a table that follows it.
    pub async fn start<'nat>(nat: &'nat Nat, settings: &str) -> Crossing<'nat> {
        let service = nat.server.listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let far = format!(
            r#"
            [[bridge]]
            name = "far"
            listen = "ws://{SERVER}:0/nat"
            backend = {{ url = "tcp://{}", framing = "u32be" }}
            {settings}
            "#,
            service.local_addr().unwrap()
        );
        let far = Natpulse::start_in(&nat.server, &far).await;
        let near = format!(
            r#"
            [[bridge]]
            name = "near"
            listen = {{ url = "tcp://127.0.0.1:0", framing = "u32be" }}
            backend = "{}"
            {settings}
            "#,
            far.url("far")
        );
        let near = Natpulse::start_in(&nat.device, &near).await;
        Crossing { nat, near, far, service }
    }

    /// A session over which messages cross.
    pub async fn session(&self) -> Session {
        let both =
            async { tokio::join!(self.nat.device.connect(self.near.addr("near")), self.service.accept()) };
        let (device, service) = within("a session", both).await;
        let mut session = Session {
            device: stream_end(device.unwrap(), Framing::U32be),
            service: stream_end(service.unwrap().0, Framing::U32be),
        };
        session.exchange().await;
        session
    }

    /// How many sessions each side believes to have.
    async fn active(&self) -> (f64, f64) {
        let near = self.near.metrics().await["natpulse_sessions_active{bridge=\"near\"}"];
        let far = self.far.metrics().await["natpulse_sessions_active{bridge=\"far\"}"];
        (near, far)
    }
}

/// Both ends of a session, in the test's hands.
pub struct Session {
    device: (Sender, Receiver),
    service: (Sender, Receiver),
}

impl Session {
    async fn exchange(&mut self) {
        self.up(b"up").await;
        self.down(b"down").await;
    }

    pub async fn up(&mut self, message: &[u8]) {
        self.device.0.send(message).await;
        assert_eq!(within("a message from the device", self.service.1.receive()).await, message);
    }

    pub async fn down(&mut self, message: &[u8]) {
        self.service.0.send(message).await;
        assert_eq!(within("a message from the service", self.device.1.receive()).await, message);
    }
}
