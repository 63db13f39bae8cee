//! The framings that have a name.

use super::Framing;
use super::length_prefixed::{ByteOrder, LengthField};

/// Every framing word, in the order that documentation lists them.
pub const WORDS: [&str; 23] = [
    "raw", "u8", "u16be", "u16le", "u24be", "u24le", "u32be", "u32le", "u64be", "u64le", "varint", "line",
    "crlf", "nul", "cocoa", "dns", "mysql", "modbus", "kafka", "thrift", "iso8583", "smpp", "protobuf",
];

/// The framing a word stands for.
pub(crate) fn framing(word: &str) -> Option<Framing> {
    use ByteOrder::{Big, Little};
    let kept = |offset, length, byte_order, adjustment| {
        let field = LengthField {
            offset,
            length,
            byte_order,
            adjustment,
            keep_header: true,
            max_frame_length: u64::MAX,
        };
        Framing::length_field(field).expect("a preset is valid")
    };
    let ended_by = |end| Framing::markers(b"", end).expect("a preset is valid");
    Some(match word {
        "raw" => Framing::RAW,
        "u8" => Framing::prefix(1, Big),
        // RFC 1035 section 4.2.2. ISO 8583 itself leaves the transport open; two bytes, network order,
        // header excluded, is the common one.
        "u16be" | "dns" | "iso8583" => Framing::prefix(2, Big),
        "u16le" => Framing::prefix(2, Little),
        "u24be" => Framing::prefix(3, Big),
        "u24le" => Framing::prefix(3, Little),
        // Kafka protocol guide, "Protocol Primitives"; Thrift's TFramedTransport.
        "u32be" | "kafka" | "thrift" => Framing::prefix(4, Big),
        // Objective-C code that copies the first four bytes of an NSInteger, little-endian on every iPhone.
        "u32le" | "cocoa" => Framing::prefix(4, Little),
        "u64be" => Framing::prefix(8, Big),
        "u64le" => Framing::prefix(8, Little),
        "varint" | "protobuf" => Framing::VARINT,
        "line" => ended_by(b"\n"),
        "crlf" => ended_by(b"\r\n"),
        "nul" => ended_by(b"\0"),
        // MySQL client/server protocol, "MySQL Packets": int<3> payload_length, int<1> sequence_id.
        "mysql" => kept(0, 3, Little, 1),
        // MODBUS Messaging on TCP/IP V1.0b section 3.1.3: the length follows two 16-bit fields.
        "modbus" => kept(4, 2, Big, 0),
        // SMPP v3.4 section 3.2: command_length counts itself.
        "smpp" => kept(0, 4, Big, -4),
        _ => return None,
    })
}

/// The plainest word for a framing.
pub(crate) fn word(wanted: &Framing) -> Option<&'static str> {
    WORDS.into_iter().find(|word| framing(word).as_ref() == Some(wanted))
}
