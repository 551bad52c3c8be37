//! How far a container's output has come, in a small file beside it.

use crate::files::{self, Durable, Mode};
use std::{fs::OpenOptions, io, os::unix::fs::FileExt, path::Path};

/// A place in a container's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Place {
    /// Everything before it is with the server, or was dropped.
    pub(super) acked: u64,
    /// Where an event was ended for lack of patience, not by what follows. Kept until that event is acknowledged, because it
    /// would be cut otherwise the second time, and the store could not know it again.
    pub(super) forced: Option<u64>,
}

impl Place {
    /// The beginning if there is no such file, or none that can be read: the store drops what it has.
    pub(super) fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let mut numbers = text.split_whitespace().map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(acked)), forced) => Self { acked, forced: forced.and_then(Result::ok) },
            (Some(Err(_)) | None, _) => Self::default(),
        }
    }

    /// Durable over the death of this process; after a power failure no container runs that would have to be gone on with.
    pub(super) fn write(self, path: &Path) -> io::Result<()> {
        let text = match self.forced {
            None => self.acked.to_string(),
            Some(forced) => format!("{} {forced}", self.acked),
        };
        match files::write(path, text.as_bytes(), Mode::Private, Durable::ProcessDeath) {
            Err(error) => overwrite(path, &text).map_err(|_| error),
            Ok(()) => Ok(()),
        }
    }

    /// Never back: what was accepted once may be gone from the file.
    pub(super) fn advance(&mut self, to: u64) {
        self.acked = self.acked.max(to);
        self.forced = self.forced.filter(|forced| *forced > self.acked);
    }
}

/// Writes over what is there, in one write to its one block. On a full disk no file can be made, and the space that is taken by
/// output which is with its receiver can only be given back once that is written down.
fn overwrite(path: &Path, text: &str) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(0);
    file.write_all_at(format!("{text:<length$}").as_bytes(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.offset");
        assert_eq!(Place::read(&path), Place::default());
        for place in [Place { acked: 7, forced: None }, Place { acked: 7, forced: Some(9) }] {
            place.write(&path).unwrap();
            assert_eq!(Place::read(&path), place);
        }
        // Another file cannot be made.
        std::fs::remove_file(dir.path().join("x.offset.new")).unwrap();
        std::fs::create_dir(dir.path().join("x.offset.new")).unwrap();
        for place in [Place { acked: 7_000, forced: None }, Place { acked: 8, forced: None }] {
            place.write(&path).unwrap();
            assert_eq!(Place::read(&path), place);
        }
        assert!(Place::default().write(&dir.path().join("none/x.offset")).is_err());
        std::fs::write(&path, "what?").unwrap();
        assert_eq!(Place::read(&path), Place::default());
    }
}
