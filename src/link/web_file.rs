//! A file that is shown to a browser.

use std::time::Duration;

use http_body_util::channel::{Channel, Sender};
use hyper::body::Bytes;
use hyper::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt};

/// A file, and what is said of it.
#[derive(Debug)]
pub struct WebFile {
    /// The file, opened.
    pub file: File,
    /// How long it is, in bytes.
    pub length: u64,
    /// What it is.
    pub content_type: &'static str,
    /// What tells this version of it from others, in quotation marks.
    pub tag: String,
    /// Whether the browser has this very version.
    pub is_known: bool,
}

/// How much of a file is in memory at one time, in bytes.
const PIECE: usize = 64 * 1024;
/// How long a browser may take for a file, and a second more for each 16 KiB of it: what a slow phone does. Nobody holds
/// a connection for ever by not reading from it.
const PATIENCE: Duration = Duration::from_secs(30);
const SLOWEST: u64 = 16 * 1024;

impl WebFile {
    /// How long it may take to send it.
    pub(super) fn patience(&self) -> Duration {
        PATIENCE + Duration::from_secs(self.length / SLOWEST)
    }

    /// The answer that shows it. What of it is longer than it was said to be is left out.
    pub(super) fn response(self) -> Response<Channel<Bytes>> {
        let (sender, body) = Channel::new(1);
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        // Kept, but never shown again without asking whether it is still the same.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        if let Ok(tag) = HeaderValue::from_str(&self.tag) {
            headers.insert(ETAG, tag);
        }
        if self.is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(self.length));
            tokio::spawn(send(self.file.take(self.length), sender));
        }
        response
    }
}

/// Reads a file as fast as it is taken.
async fn send(mut file: impl AsyncRead + Unpin, mut sender: Sender<Bytes>) {
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece).await {
            Ok(0) => return,
            Ok(count) => {
                let sent = sender.send_data(Bytes::copy_from_slice(&piece[..count])).await;
                if sent.is_err() {
                    return;
                }
            }
            // The connection then ends before its content does, which is how the browser knows.
            Err(_) => return,
        }
    }
}
