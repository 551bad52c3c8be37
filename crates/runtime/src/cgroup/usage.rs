//! What the processes of a group have used, in the kernel's own figures, whichever version of cgroups counts them.

use super::{Cgroups, Layout, keyed};
use std::collections::BTreeMap;

/// A limit the kernel shows where none was set is near the largest number of pages; nobody has so much.
const NO_LIMIT: u64 = 1 << 60;

/// Figures since the group was made, save for what says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Usage {
    /// CPU time, nanoseconds.
    pub cpu: u64,
    /// Of it in the kernel.
    pub cpu_kernel: u64,
    /// Of it outside.
    pub cpu_user: u64,
    /// CPU time by processor, nanoseconds; only version 1 counts it.
    pub cpu_each: Vec<u64>,
    /// Periods in which there was a quota.
    pub periods: u64,
    /// Of them, those in which it was used up.
    pub throttled_periods: u64,
    /// Time spent waiting for the next, nanoseconds.
    pub throttled: u64,
    /// Bytes now.
    pub memory: u64,
    /// The most bytes at any time; 0 where the kernel does not say.
    pub memory_max: u64,
    /// The limit in bytes, if there is one.
    pub memory_limit: Option<u64>,
    /// `memory.stat`, as the kernel names it.
    pub memory_stat: BTreeMap<String, u64>,
    /// Processes and threads now.
    pub pids: u64,
    /// Their limit, if there is one.
    pub pids_limit: Option<u64>,
    /// Block devices.
    pub devices: Vec<DeviceUsage>,
}

/// What was done to one block device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)] // Bytes and operations, read and written.
pub struct DeviceUsage {
    pub major: u64,
    pub minor: u64,
    pub read_bytes: u64,
    pub write_bytes: u64,
    pub reads: u64,
    pub writes: u64,
}

impl Cgroups {
    /// What the group and those below it have used; `None` if it is not there.
    #[must_use]
    pub fn usage(&self, path: &str) -> Option<Usage> {
        let mut usage = Usage {
            cpu: u64::try_from(self.cpu_usage(path)?.as_nanos()).unwrap_or(u64::MAX),
            memory: self.memory_usage(path).unwrap_or(0),
            pids: self.pids_current(path).unwrap_or(0),
            pids_limit: self.number(path, "pids", "pids.max"),
            memory_stat: pairs(&self.text(path, "memory", "memory.stat").unwrap_or_default()),
            ..Usage::default()
        };
        let cpu_stat = self.text(path, "cpu", "cpu.stat").unwrap_or_default();
        usage.periods = keyed(&cpu_stat, "nr_periods").unwrap_or(0);
        usage.throttled_periods = keyed(&cpu_stat, "nr_throttled").unwrap_or(0);
        match self.layout {
            Layout::V1 { .. } => {
                let ticks = self.text(path, "cpuacct", "cpuacct.stat").unwrap_or_default();
                // The kernel shows a hundredth of a second to everybody, whatever it counts with itself.
                let nanos = |name| keyed(&ticks, name).unwrap_or(0).saturating_mul(10_000_000);
                (usage.cpu_kernel, usage.cpu_user) = (nanos("system"), nanos("user"));
                let each = self.text(path, "cpuacct", "cpuacct.usage_percpu").unwrap_or_default();
                usage.cpu_each = each.split_whitespace().filter_map(|n| n.parse().ok()).collect();
                usage.throttled = keyed(&cpu_stat, "throttled_time").unwrap_or(0);
                usage.memory_max = self.number(path, "memory", "memory.max_usage_in_bytes").unwrap_or(0);
                usage.memory_limit =
                    self.number(path, "memory", "memory.limit_in_bytes").filter(|limit| *limit < NO_LIMIT);
                let read = |file: &str| self.text(path, "blkio", file).unwrap_or_default();
                usage.devices = blkio(
                    &read("blkio.throttle.io_service_bytes_recursive"),
                    &read("blkio.throttle.io_serviced_recursive"),
                );
            }
            Layout::V2 { .. } => {
                let nanos = |name| keyed(&cpu_stat, name).unwrap_or(0).saturating_mul(1000);
                (usage.cpu_kernel, usage.cpu_user) = (nanos("system_usec"), nanos("user_usec"));
                usage.throttled = nanos("throttled_usec");
                usage.memory_max = self.number(path, "memory", "memory.peak").unwrap_or(0);
                usage.memory_limit = self.number(path, "memory", "memory.max");
                usage.devices = io(&self.text(path, "io", "io.stat").unwrap_or_default());
            }
        }
        Some(usage)
    }
}

fn pairs(text: &str) -> BTreeMap<String, u64> {
    let pair = |line: &str| {
        let (name, number) = line.split_once(' ')?;
        Some((name.to_owned(), number.trim().parse().ok()?))
    };
    text.lines().filter_map(pair).collect()
}

fn numbers(text: &str) -> Option<(u64, u64)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Version 1: a line for each device and operation, `8:0 Read 4096`.
fn blkio(bytes: &str, operations: &str) -> Vec<DeviceUsage> {
    let mut found: BTreeMap<(u64, u64), DeviceUsage> = BTreeMap::new();
    for (text, counts_bytes) in [(bytes, true), (operations, false)] {
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let (Some(device), Some(what), Some(count)) = (words.next(), words.next(), words.next()) else { continue };
            let (Some((major, minor)), Ok(count)) = (numbers(device), count.parse::<u64>()) else { continue };
            let row = found.entry((major, minor)).or_insert(DeviceUsage { major, minor, ..DeviceUsage::default() });
            match (what, counts_bytes) {
                ("Read", true) => row.read_bytes = count,
                ("Write", true) => row.write_bytes = count,
                ("Read", false) => row.reads = count,
                ("Write", false) => row.writes = count,
                _ => {}
            }
        }
    }
    found.into_values().collect()
}

/// Version 2: a line for each device, `8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0`.
fn io(text: &str) -> Vec<DeviceUsage> {
    let row = |line: &str| {
        let (device, rest) = line.split_once(' ')?;
        let (major, minor) = numbers(device)?;
        let of = |name: &str| {
            let values = rest.split_whitespace().filter_map(|word| word.split_once('='));
            values.filter(|(key, _)| *key == name).find_map(|(_, value)| value.parse().ok()).unwrap_or(0)
        };
        Some(DeviceUsage {
            major,
            minor,
            read_bytes: of("rbytes"),
            write_bytes: of("wbytes"),
            reads: of("rios"),
            writes: of("wios"),
        })
    };
    text.lines().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_in_both_forms() {
        let want = [DeviceUsage { major: 8, minor: 0, read_bytes: 4096, write_bytes: 512, reads: 2, writes: 1 }];
        let bytes = "8:0 Read 4096\n8:0 Write 512\n8:0 Sync 0\n8:0 Total 4608\nTotal 4608\n";
        assert_eq!(blkio(bytes, "8:0 Read 2\n8:0 Write 1\n"), want);
        assert_eq!(io("8:0 rbytes=4096 wbytes=512 rios=2 wios=1 dbytes=0 dios=0\n"), want);
        assert!(io("").is_empty() && blkio("", "").is_empty());
    }

    #[test]
    fn a_group_of_this_machine_tells_what_it_used() {
        let cgroups = Cgroups::detect().unwrap();
        let usage = cgroups.usage("/").unwrap();
        assert!(usage.cpu > 0, "{usage:?}");
        assert!(!usage.memory_stat.is_empty(), "{usage:?}");
        assert_eq!(cgroups.usage("/longshore-is-not-there"), None);
    }
}
