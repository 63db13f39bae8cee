//! Which sessions are asked for, and in which order.

use std::fmt::Write;

/// What a list of sessions is to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) sort: Sort,
    pub(super) is_descending: bool,
    /// What the number, the bridge or the client contains; empty for all.
    pub(super) filter: String,
    pub(super) offset: u64,
    /// At least 1.
    pub(super) limit: u64,
}

/// What sessions can be sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Opened,
    LastMessage,
    Messages,
    Bytes,
    Id,
    Bridge,
    Client,
}

/// The most items that one answer holds.
const MAX_LIMIT: u64 = 1000;

impl Query {
    /// What to GET for it.
    pub(super) fn path(&self) -> String {
        let (limit, offset) = (self.limit.clamp(1, MAX_LIMIT), self.offset);
        let order = if self.is_descending { "desc" } else { "asc" };
        let mut path =
            format!("/api/sessions?limit={limit}&offset={offset}&sort={}&order={order}", self.sort.name());
        if !self.filter.is_empty() {
            path.push_str("&filter=");
        }
        for byte in self.filter.bytes() {
            // What RFC 3986 section 2.3 lets stand; the rest is encoded.
            let is_plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            let written = if is_plain { path.write_char(byte.into()) } else { write!(path, "%{byte:02X}") };
            debug_assert!(written.is_ok(), "a String takes everything");
        }
        path
    }
}

impl Sort {
    pub(super) fn next(self) -> Sort {
        match self {
            Sort::Opened => Sort::LastMessage,
            Sort::LastMessage => Sort::Messages,
            Sort::Messages => Sort::Bytes,
            Sort::Bytes => Sort::Id,
            Sort::Id => Sort::Bridge,
            Sort::Bridge => Sort::Client,
            Sort::Client => Sort::Opened,
        }
    }

    /// Its name in the API.
    fn name(self) -> &'static str {
        match self {
            Sort::Opened => "opened",
            Sort::LastMessage => "last_message",
            Sort::Messages => "messages",
            Sort::Bytes => "bytes",
            Sort::Id => "id",
            Sort::Bridge => "bridge",
            Sort::Client => "client",
        }
    }

    /// Whether what is most interesting comes first when the order is descending: the newest and the busiest.
    pub(super) fn is_descending(self) -> bool {
        matches!(self, Sort::Opened | Sort::LastMessage | Sort::Messages | Sort::Bytes)
    }

    /// What is shown of a list that is sorted by it.
    pub(super) fn order(self, is_descending: bool) -> &'static str {
        match (self, is_descending) {
            (Sort::Opened, true) => "newest first",
            (Sort::Opened, false) => "oldest first",
            (Sort::LastMessage, true) => "last message newest first",
            (Sort::LastMessage, false) => "last message oldest first",
            (Sort::Messages, true) => "most messages first",
            (Sort::Messages, false) => "fewest messages first",
            (Sort::Bytes, true) => "most bytes first",
            (Sort::Bytes, false) => "fewest bytes first",
            (Sort::Id, true) => "by id, highest first",
            (Sort::Id, false) => "by id",
            (Sort::Bridge, true) => "by bridge, z to a",
            (Sort::Bridge, false) => "by bridge",
            (Sort::Client, true) => "by client, highest first",
            (Sort::Client, false) => "by client",
        }
    }
}
