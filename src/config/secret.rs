//! Secrets, which are in files of their own, so that a config can be shown to anyone.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::reader::Reader;

/// The shortest secret, in characters: of random letters and digits, these are 95 bits.
const SHORTEST: usize = 16;
/// The longest line that is read, in bytes: a device that never ends is not read for ever.
const LONGEST: usize = 4096;
/// The permission of a file that everyone may read (chmod(2)).
const READABLE_BY_OTHERS: u32 = 0o004;

/// The first line of a file, without the blanks around it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    /// The file.
    pub file: PathBuf,
    /// What nobody may see.
    pub text: String,
    /// Whether every user of this machine may read the file.
    pub is_exposed: bool,
}

/// Everything but the secret.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret")
            .field("file", &self.file)
            .field("is_exposed", &self.is_exposed)
            .finish_non_exhaustive()
    }
}

impl Secret {
    /// Takes the name of a file out of a table, and reads it; `None` where there is no such key, or something is wrong.
    pub(super) fn read(key: &'static str, reader: &mut Reader<'_>) -> Option<Secret> {
        let node = reader.take(key)?;
        let file = node.value.as_str().filter(|path| !path.is_empty()).map(PathBuf::from);
        let rule = match file.map(|file| (first_line(&file), file)) {
            None => "the path of a file".to_owned(),
            Some((Err(error), _)) => format!("the path of a file that can be read ({error})"),
            Some((Ok((line, is_exposed)), file)) => {
                let text = line.trim();
                if text.chars().count() >= SHORTEST && line.len() <= LONGEST {
                    return Some(Secret { file, text: text.to_owned(), is_exposed });
                }
                format!(
                    "a file whose first line has at least {SHORTEST} characters, and at most {LONGEST} bytes"
                )
            }
        };
        reader.wrong(key, &node, &rule);
        None
    }
}

/// The first line, and whether others may read it too. One that is too long is cut, but is still too long.
fn first_line(path: &Path) -> io::Result<(String, bool)> {
    let file = File::open(path)?;
    let mode = file.metadata()?.permissions().mode();
    let mut line = String::new();
    BufReader::new(file.take(LONGEST as u64 + 1)).read_line(&mut line)?;
    Ok((line, mode & READABLE_BY_OTHERS != 0))
}
