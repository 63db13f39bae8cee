//! Connections: accepting and dialling each scheme, and the WebSocket handshake.

mod caller;
mod connect;
mod dial;
mod echo;
mod endpoint;
pub mod forwarded;
mod head;
mod inherited;
mod listen;
mod preface;
pub mod proxy_protocol;
mod reach;
mod request;
mod stream;
mod tcp;
pub mod tls;
mod upgrade;
mod web_file;

pub use caller::{Caller, Secured};
pub use dial::{Call, DialError, Dialled, Place, check, dial};
pub use echo::Echo;
pub use endpoint::{Authority, BackendUrl, ListenUrl, WebhookUrl};
pub use inherited::Inherited;
pub use listen::Listener;
pub use preface::{NoHeader, take_header};
pub use reach::Reach;
pub use request::Wanted;
pub use stream::Stream;
pub use upgrade::{Answer, NotOpened, Opened, Refusal, upgrade};
pub use web_file::WebFile;
