//! Output that went nowhere else, of containers that are gone: kept a while, because it is looked for once something went wrong.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Files that are kept: some hours of a machine whose tasks live for minutes.
const FILES: usize = 100;
/// What they may take together: little on any disk, and four loud containers' whole output.
const BYTES: u64 = 256 << 20;

/// Moves the output of a container that is gone from `dir` to `dir/ended`, and removes the oldest there.
pub(crate) fn put_aside(dir: &Path, runtime_id: &str) -> io::Result<()> {
    let (from, ended) = (super::LogHub::file(dir, runtime_id), dir.join("ended"));
    crate::files::folder(&ended)?;
    match fs::rename(from, super::LogHub::file(&ended, runtime_id)) {
        // It never wrote, or was put aside before a crash.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        outcome => outcome?,
    }
    remove_oldest(&ended, FILES, BYTES)
}

fn remove_oldest(ended: &Path, files: usize, bytes: u64) -> io::Result<()> {
    let mut found: Vec<(i64, PathBuf, u64)> = Vec::new();
    for entry in fs::read_dir(ended)? {
        let entry = entry?;
        // Another task's end may have removed it by now.
        let Ok(about) = entry.metadata() else { continue };
        found.push((about.mtime(), entry.path(), about.blocks() * 512));
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    let mut room = bytes;
    for (at, (_, path, takes)) in found.into_iter().enumerate() {
        room = room.saturating_sub(takes);
        if at >= files || room == 0 {
            crate::files::remove(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn the_newest_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        put_aside(dir.path(), "silent").unwrap();
        for number in 0..6u64 {
            let file = fs::File::create(dir.path().join(format!("c{number}.log"))).unwrap();
            io::Write::write_all(&mut &file, &[b'x'; 4_096]).unwrap();
            file.sync_all().unwrap();
            file.set_modified(UNIX_EPOCH + Duration::from_secs(number)).unwrap();
            put_aside(dir.path(), &format!("c{number}")).unwrap();
        }
        let ended = dir.path().join("ended");
        let left = || {
            let mut names: Vec<_> =
                fs::read_dir(&ended).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        assert_eq!(left().len(), 6);
        remove_oldest(&ended, 4, BYTES).unwrap();
        assert_eq!(left(), ["c2.log", "c3.log", "c4.log", "c5.log"]);
        let takes = fs::metadata(ended.join("c5.log")).unwrap().blocks() * 512;
        remove_oldest(&ended, FILES, 2 * takes + 1).unwrap();
        assert_eq!(left(), ["c4.log", "c5.log"]);
    }
}
