//! Puts variables that must not reach a disk into the bundle's document, in place of the mark that stands for them there. What it puts
//! where, the agent has written into a file beside containerd's socket; nothing in the document itself says so, since anybody may
//! have written that. See `containerd/environment.rs`.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

const DOCUMENT: &str = "config.json";
/// How a mark begins.
const MARK: &str = "\"longshore-environment-";

/// Nothing to do is no error.
pub(crate) fn fill(words: &[&str]) -> io::Result<()> {
    let value = |flag: &str| words.windows(2).find(|pair| pair[0] == flag).map(|pair| pair[1]);
    let (Some(address), Some(id)) = (value("-address"), value("-id")) else { return Ok(()) };
    let Some(folder) = Path::new(address).parent() else { return Ok(()) };
    let handed = match fs::read_to_string(folder.join("environment").join(id)) {
        Ok(handed) => handed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return unmarked(),
        Err(error) => return Err(error),
    };
    let document = fs::read_to_string(DOCUMENT)?;
    let filled = handed.split_once('\n').and_then(|(mark, variables)| {
        let mark = format!("\"{mark}\"");
        document.contains(&mark).then(|| document.replacen(&mark, variables, 1))
    });
    let filled = filled.ok_or_else(|| io::Error::other("the document has no place for its secrets"))?;
    let fresh = Path::new(".config.json");
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(fresh)?;
    let written = file.write_all(filled.as_bytes()).and_then(|()| fs::rename(fresh, DOCUMENT));
    if written.is_err() {
        let _ = fs::remove_file(fresh);
    }
    written
}

/// A container whose secrets nobody has handed over must not start without them.
fn unmarked() -> io::Result<()> {
    match fs::read_to_string(DOCUMENT) {
        Ok(document) if document.contains(MARK) => Err(io::Error::other("its secrets are not there")),
        Ok(_) | Err(_) => Ok(()),
    }
}
