//! Gives back what the program's code takes of memory and no longer needs. An agent runs for months beside what it is there for, and most
//! of the code that it ever touches is for its start; the kernel would keep it mapped until memory is short, with 64 KiB around each
//! place that was touched.

use effects::Effects;
use std::{fs, io, ops::Range, ptr, time::Duration};

/// Long enough to have joined and begun. Then what a burst of tasks has touched is given back again and again.
const AFTER: Duration = Duration::from_secs(20);
const AGAIN: Duration = Duration::from_secs(10 * 60);

/// Does so for ever.
pub(crate) async fn keep_small(effects: Effects) {
    let mut pause = AFTER;
    loop {
        effects.sleep(pause).await;
        if let Err(error) = give_back() {
            tracing::debug!(%error, "the program's code stays in memory");
            return;
        }
        pause = AGAIN;
    }
}

/// What is needed again is mapped again from the file, or from the page cache, where it is as long as memory lasts: some hundred faults of a
/// microsecond.
#[allow(unsafe_code)] // madvise; see there.
fn give_back() -> io::Result<()> {
    let maps = fs::read_to_string("/proc/self/maps")?;
    let code = code(&maps, give_back as *const () as usize).ok_or(io::ErrorKind::NotFound)?;
    // SAFETY: These are whole pages of a mapping of a file that nobody can write to: what is dropped is read again as it was.
    match unsafe { libc::madvise(ptr::with_exposed_provenance_mut(code.start), code.len(), libc::MADV_DONTNEED) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The mapping of a file that has this address, if it is code and nothing else.
fn code(maps: &str, address: usize) -> Option<Range<usize>> {
    maps.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let number = |text| usize::from_str_radix(text, 16).ok();
        let range = number(start)?..number(end)?;
        let (access, inode) = (words.next()?, words.nth(2)?);
        (range.contains(&address) && access == "r-xp" && inode != "0").then_some(range)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_what_a_file_has_and_nobody_writes() {
        let maps = "1000-2000 r--p 00000000 fe:00 7 /usr/bin/longshore\n\
            2000-5000 r-xp 00001000 fe:00 7      /usr/bin/longshore (deleted)\n\
            5000-6000 rw-p 00004000 fe:00 7 /usr/bin/longshore\n\
            6000-7000 r-xp 00000000 00:00 0 [vdso]\n";
        for (address, want) in [(0x2000, Some(0x2000..0x5000)), (0x4fff, Some(0x2000..0x5000)), (0x5000, None)] {
            assert_eq!(code(maps, address), want);
        }
        for address in [0x1000, 0x6000, 0x7000] {
            assert_eq!(code(maps, address), None);
        }
    }

    #[test]
    fn what_is_given_back_is_not_resident_and_runs_again() {
        let resident = || {
            let maps = fs::read_to_string("/proc/self/smaps").unwrap();
            let here = code(&maps, give_back as *const () as usize).unwrap();
            let own = maps.split_once(&format!("{:x}-{:x} ", here.start, here.end)).unwrap().1;
            let line = own.lines().find_map(|line| line.strip_prefix("Rss:")).unwrap();
            line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap()
        };
        // Touches some of it.
        assert!(work().len() > 100);
        let before = resident();
        give_back().unwrap();
        assert!(resident() < before, "{before} kB");
        assert!(work().len() > 100);
    }

    fn work() -> String {
        serde_json::to_string(&crate::testing::assignment(1, &["main"]).0).unwrap()
    }
}
