//! Output that goes nowhere but into its file: only the newest of it is kept, although the shim never lets go of the file.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

/// Gives back all but about the newest `keep` bytes of the file, once it has more than an eighth above that; answers how many
/// bytes went. A file that is not there has none.
///
/// The old bytes are cut off the front of the file (ext4 and XFS can: what is left moves to its beginning), so that the file
/// stays as small as it looks. Where that cannot be done they become a hole. A shim that appends notices neither.
pub fn keep_newest(path: &Path, keep: u64) -> io::Result<u64> {
    let file = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let status = rustix::fs::fstat(&file)?;
    let block = u64::try_from(status.st_blksize).unwrap_or(4_096).max(1);
    let len = u64::try_from(status.st_size).unwrap_or(0);
    // What counts is what it takes; after holes were punched its length says nothing. Blocks are of 512 bytes in any case.
    let takes = len.min(u64::try_from(status.st_blocks).unwrap_or(0).saturating_mul(512));
    if takes <= keep.saturating_add(keep / 8) {
        return Ok(0);
    }
    let old = (len - keep.min(len)) / block * block;
    if old == 0 {
        return Ok(0);
    }
    cut_front(&file, old)?;
    Ok(takes.saturating_sub(keep))
}

fn cut_front(file: &File, old: u64) -> io::Result<()> {
    match fallocate(file, FallocateFlags::COLLAPSE_RANGE, 0, old) {
        Ok(()) => return Ok(()),
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {}
        Err(error) => return Err(error.into()),
    }
    match fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0, old) {
        // A file system without holes is no error: its files just grow.
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn only_the_newest_stays_and_a_shim_appends_on() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut shim = OpenOptions::new().append(true).open(file.path()).unwrap();
        let mut number = 0;
        for _ in 0..30 {
            for _ in 0..5_000 {
                writeln!(shim, "line {number}").unwrap();
                number += 1;
            }
            shim.sync_all().unwrap();
            keep_newest(file.path(), 32 << 10).unwrap();
            assert!(file.as_file().metadata().unwrap().blocks() * 512 <= (32 << 10) + (8 << 10));
        }
        writeln!(shim, "the end").unwrap();
        let bytes = std::fs::read(file.path()).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let lines: Vec<&str> = text.trim_start_matches('\0').lines().collect();
        assert_eq!(lines[lines.len() - 2..], [format!("line {}", number - 1).as_str(), "the end"]);
        let numbers = lines[1..lines.len() - 1].iter().map(|line| line[5..].parse::<u32>().unwrap());
        assert!(
            numbers.clone().eq(number - u32::try_from(numbers.len()).unwrap()..number),
            "no line in between is missing"
        );
    }

    #[test]
    fn what_is_small_or_not_there_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(keep_newest(&dir.path().join("none"), 1).unwrap(), 0);
        std::fs::write(dir.path().join("small"), "x".repeat(9_000)).unwrap();
        assert_eq!(keep_newest(&dir.path().join("small"), 20_000).unwrap(), 0);
        assert_eq!(std::fs::read(dir.path().join("small")).unwrap().len(), 9_000);
    }
}
