//! How events are written, and signed.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Serialize;
use sha2::Sha256;

use super::courier::Batch;
use super::{Event, What};

/// The body of a request.
#[derive(Serialize)]
struct Body<'b> {
    events: Vec<Sent<'b>>,
}

/// An event as it is sent. Whatever the event, every key is there.
#[derive(Serialize)]
struct Sent<'e> {
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    at: f64,
    bridge: &'e str,
    session: u64,
    side: &'static str,
    client: Option<SocketAddr>,
    network: Option<&'e str>,
    cause: Option<&'static str>,
    silence_s: Option<f64>,
    last_message: Option<f64>,
    died_session: Option<u64>,
}

impl Sent<'_> {
    fn new(id: String, event: &Event) -> Sent<'_> {
        let (kind, cause, silence, died_session) = match event.what {
            What::Opened => ("opened", None, None, None),
            What::Died { cause, silence } => ("died", Some(cause.label()), Some(silence), None),
            What::Returned { died_session } => ("returned", None, None, Some(died_session)),
        };
        Sent {
            id,
            kind,
            at: seconds(event.at),
            bridge: &event.bridge,
            session: event.session,
            side: event.side.label(),
            client: event.client,
            network: event.network.as_deref(),
            cause,
            silence_s: silence.map(seconds),
            last_message: event.last_message.map(seconds),
            died_session,
        }
    }
}

/// Seconds, to the millisecond.
fn seconds(duration: Duration) -> f64 {
    duration.as_millis() as f64 / 1000.0
}

/// The body of the request that delivers a batch.
pub(super) fn body(batch: &Batch) -> Vec<u8> {
    let body = Body { events: batch.events().map(|(id, event)| Sent::new(id, event)).collect() };
    serde_json::to_vec(&body).expect("text and finite numbers can be written, and memory takes all")
}

/// What proves that a body is ours to who knows the secret: HMAC-SHA256 (RFC 2104).
pub(super) fn signature(secret: &[u8], body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(body);
    let mut text = String::from("sha256=");
    for byte in mac.finalize().into_bytes() {
        write!(text, "{byte:02x}").expect("a string takes all");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::courier::{Courier, Step};
    use super::*;
    use crate::close::Party;
    use crate::heartbeat::Cause;

    #[test]
    fn every_kind_of_event_is_written_with_every_key() {
        let at = Duration::from_micros(1_763_000_000_123_456);
        let opened = Event {
            what: What::Opened,
            at,
            bridge: "im".into(),
            session: 17,
            side: Party::Client,
            client: None,
            network: None,
            last_message: None,
        };
        let died = Event {
            what: What::Died { cause: Cause::Nat, silence: Duration::from_millis(61_500) },
            client: Some("[::1]:5555".parse().unwrap()),
            network: Some("192.0.2.0/24".into()),
            last_message: Some(at),
            ..opened.clone()
        };
        let returned =
            Event { what: What::Returned { died_session: 12 }, side: Party::Backend, ..opened.clone() };
        let mut courier = Courier::new(0xabc, 3);
        assert!([opened, died, returned].into_iter().all(|event| courier.push(event)));
        courier.hurry();
        let Step::Deliver(batch) = courier.step(Duration::ZERO) else {
            panic!("there is something to deliver");
        };
        let opened =
            r#""at":1763000000.123,"bridge":"im","session":17,"side":"client","client":null,"network":null"#;
        let at = r#""at":1763000000.123,"bridge":"im","session":17"#;
        let expected = [
            r#"{"events":[{"id":"0000000000000abc-1","type":"opened","#,
            opened,
            r#","cause":null,"silence_s":null,"last_message":null,"died_session":null},"#,
            r#"{"id":"0000000000000abc-2","type":"died","#,
            at,
            r#","side":"client","client":"[::1]:5555","network":"192.0.2.0/24","#,
            r#""cause":"nat","silence_s":61.5,"last_message":1763000000.123,"died_session":null},"#,
            r#"{"id":"0000000000000abc-3","type":"returned","#,
            at,
            r#","side":"backend","client":null,"network":null,"#,
            r#""cause":null,"silence_s":null,"last_message":null,"died_session":12}]}"#,
        ];
        assert_eq!(String::from_utf8(body(&batch)).unwrap(), expected.concat());
        assert_eq!(Arc::strong_count(&batch), 2, "the courier keeps it until it is delivered");
    }

    /// RFC 4231 sections 4.2 and 4.3.
    #[test]
    fn signatures_are_those_of_the_rfc() {
        assert_eq!(
            signature(&[0x0b; 20], b"Hi There"),
            "sha256=b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        );
        assert_eq!(
            signature(b"Jefe", b"what do ya want for nothing?"),
            "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}
