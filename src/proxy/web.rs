//! The files of a directory, for browsers.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use hyper::header::IF_NONE_MATCH;
use tokio::task::spawn_blocking;

use crate::link::{Answer, Refusal, Wanted, WebFile};
use crate::targets::percent_decoded;

/// A directory that is served.
#[derive(Debug)]
pub(super) struct Web(PathBuf);

/// What a directory shows of itself.
const INDEX: &str = "index.html";

/// What files are, by the ends of their names; browsers refuse scripts that are called anything else.
const TYPES: [(&str, &str); 23] = [
    ("html", "text/html; charset=utf-8"),
    ("htm", "text/html; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("json", "application/json"),
    ("map", "application/json"),
    ("webmanifest", "application/manifest+json"),
    ("txt", "text/plain; charset=utf-8"),
    ("xml", "application/xml"),
    ("svg", "image/svg+xml"),
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
    ("ico", "image/x-icon"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
    ("ttf", "font/ttf"),
    ("wasm", "application/wasm"),
    ("mp3", "audio/mpeg"),
    ("oga", "audio/ogg"),
];

impl Web {
    pub(super) fn new(directory: PathBuf) -> Web {
        Web(directory)
    }

    /// The file that a request asks for.
    pub(super) async fn answer(&self, wanted: &Wanted) -> Answer {
        let Some(path) = relative(&wanted.path) else {
            return Answer::Refuse(Refusal::NotFound);
        };
        let root = self.0.clone();
        let opened = spawn_blocking(move || open(&root, &path)).await;
        match opened {
            Ok(Ok(mut file)) => {
                let known = wanted.headers.get_all(IF_NONE_MATCH).iter();
                file.is_known = known
                    .filter_map(|value| value.to_str().ok())
                    .any(|value| value.split(',').any(|one| one.trim().trim_start_matches("W/") == file.tag));
                Answer::File(file)
            }
            // Whether it is not there or not to be seen is nobody's business.
            Ok(Err(_)) | Err(_) => Answer::Refuse(Refusal::NotFound),
        }
    }
}

/// The path within the directory that a request's path means, if it can mean one: no segment leads up or is hidden.
fn relative(path: &str) -> Option<PathBuf> {
    let path = percent_decoded(path.strip_prefix('/')?)?;
    if path.is_empty() {
        return Some(INDEX.into());
    }
    let (path, is_directory) = path.strip_suffix('/').map_or((path.as_str(), false), |path| (path, true));
    let is_sane = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains(['\\', '\0']);
    let mut relative = PathBuf::new();
    for part in path.split('/') {
        relative.push(is_sane(part).then_some(part)?);
    }
    if is_directory {
        relative.push(INDEX);
    }
    Some(relative)
}

/// Opens a file that is in a directory, and is not only reached through it by a link. Blocks.
fn open(root: &Path, relative: &Path) -> io::Result<WebFile> {
    let root = root.canonicalize()?;
    let path = root.join(relative).canonicalize()?;
    // Another thing than a file may take for ever to open.
    if !path.starts_with(&root) || !fs::metadata(&path)?.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let file = fs::File::open(&path)?;
    let about = file.metadata()?;
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let extension = extension.to_ascii_lowercase();
    let known = TYPES.iter().find(|(known, _)| *known == extension);
    let content_type = known.map_or("application/octet-stream", |(_, content_type)| content_type);
    let tag = format!("\"{:x}-{:x}-{:x}\"", about.len(), about.mtime(), about.mtime_nsec());
    Ok(WebFile { file: file.into(), length: about.len(), content_type, tag, is_known: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        for (path, wanted) in [
            ("/", "index.html"),
            ("/a/", "a/index.html"),
            ("/vnc.html", "vnc.html"),
            ("/a/b%20c.js", "a/b c.js"),
            ("/a%2fb", "a/b"),
            ("/a...b", "a...b"),
        ] {
            assert_eq!(relative(path), Some(PathBuf::from(wanted)), "{path}");
        }
        for path in [
            "",
            "a",
            "*",
            "//",
            "//a",
            "/a//b",
            "/..",
            "/../a",
            "/a/../b",
            "/./a",
            "/%2e%2e/a",
            "/a/%2e%2e",
            "/a%2f..%2fb",
            "/..%2fa",
            "/.git/config",
            "/a/.htaccess",
            "/a%00b",
            "/a\\..\\b",
            "/%5c",
            "/%",
            "/%ff",
        ] {
            assert_eq!(relative(path), None, "{path}");
        }
    }
}
