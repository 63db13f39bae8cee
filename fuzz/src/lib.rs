//! What fuzz targets are made of: the driver, the plain second opinion and the oracle of the wire tests, and
//! a way to make ends and streams of any bytes.

#[path = "../../tests/it/wire/beat.rs"]
mod beat;
#[path = "../../tests/it/wire/end.rs"]
mod end;
mod input;
#[path = "../../tests/it/wire/oracle.rs"]
mod oracle;
#[path = "../../tests/it/wire/pipe.rs"]
mod pipe;

pub use beat::{OwnBeat, decoder, encoder, read};
pub use end::{End, Message, Parsed, frame};
pub use input::Input;
pub use oracle::{Expected, Refused, expected};
pub use pipe::{Heard, Pipe};
