//! Whom to dial, where a request, a file or the state of several backends decides it. Pure: no IO, no clock.

mod balance;
mod path;
mod pattern;
mod template;
mod tokens;

pub use balance::{Balance, Balancer};
pub use path::{Parameter, Path, percent_decoded};
pub use pattern::Pattern;
pub use template::Template;
pub use tokens::{BadLine, Tokens, query_token};
