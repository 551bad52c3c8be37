//! What containers use, in the shape of Docker's stats: read when somebody asks, from the container's cgroup and its network.
//!
//! Docker's shape holds two readings, from which clients work out rates. The earlier one is that of the last time somebody
//! asked; who asks for the first time gets none, as Docker's own one-shot answers have none. AWS: the original reads every
//! container every second, whether anybody asks or not.

use crate::{engine::View, introspection::rfc3339, plan::TaskPlan};
use effects::Effects;
use model::{NetworkMode, Timestamp};
use network::NetContext;
use runtime::{
    DiskUsage, Disks,
    cgroup::{Cgroups, DeviceUsage, Usage},
};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// Readings closer together than this say little: the one before them is kept as the earlier one.
const APART_MS: i64 = 500;
/// What Go shows for a time that is not known.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// Where the figures of an instance's containers are.
#[derive(Debug, Clone)]
pub struct Places {
    /// The machine's.
    pub cgroups: Cgroups,
    /// The cgroup that holds its tasks.
    pub cgroup: String,
    /// Where its containers' network namespaces are mounted.
    pub netns_dir: PathBuf,
    /// Those that tasks have of their own.
    pub disks: Disks,
}

/// One reading.
#[derive(Debug, Clone, PartialEq)]
struct Reading {
    at: Timestamp,
    usage: Usage,
    /// CPU time of the whole machine, nanoseconds.
    system: u64,
    interfaces: BTreeMap<String, Counters>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
struct Counters {
    rx_bytes: u64,
    rx_packets: u64,
    rx_errors: u64,
    rx_dropped: u64,
    tx_bytes: u64,
    tx_packets: u64,
    tx_errors: u64,
    tx_dropped: u64,
}

/// Reads, and remembers the last readings of each container.
pub(super) struct Meters {
    places: Places,
    effects: Effects,
    /// By runtime id. At most one entry for each container on the board.
    last: Mutex<BTreeMap<Arc<str>, Last>>,
}

/// The last readings of one container.
struct Last {
    newest: Reading,
    before: Option<Reading>,
}

impl Meters {
    pub(super) fn new(places: Places, effects: Effects) -> Self {
        Self { places, effects, last: Mutex::default() }
    }

    /// The stats of one container; `None` if it does not run.
    pub(super) async fn stats(&self, view: &View, at: usize) -> Option<Stats> {
        let id = &view.plan.ids[at];
        let now = self.read(&view.plan, id).await?;
        let before = {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            match last.get_mut(id) {
                None => {
                    last.insert(id.clone(), Last { newest: now.clone(), before: None });
                    None
                }
                Some(last) if now.at.millis_since(last.newest.at) < APART_MS => last.before.clone(),
                Some(last) => {
                    last.before = Some(std::mem::replace(&mut last.newest, now.clone()));
                    last.before.clone()
                }
            }
        };
        Some(render(id, &now, before.as_ref()))
    }

    /// How full the task's own disk is, if it has one.
    pub(super) fn disk(&self, plan: &TaskPlan) -> Option<DiskUsage> {
        plan.assignment.ephemeral_storage_gib?;
        self.places.disks.usage(plan.id())
    }

    /// Forgets the containers that `lives` does not know.
    pub(super) fn forget(&self, lives: impl Fn(&str) -> bool) {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).retain(|id, _| lives(id));
    }

    async fn read(&self, plan: &TaskPlan, id: &str) -> Option<Reading> {
        let usage = self.places.cgroups.usage(&format!("{}/{}/{id}", self.places.cgroup, plan.id()))?;
        let interfaces = match plan.mode() {
            NetworkMode::None => BTreeMap::new(),
            // AWS: Docker tells nothing of the network of a container that is in the machine's own.
            NetworkMode::Host => BTreeMap::new(),
            NetworkMode::Bridge => counters(&self.places.netns_dir.join(id)).await,
            NetworkMode::Awsvpc => counters(&self.places.netns_dir.join(plan.id())).await,
        };
        let system = system(&fs::read_to_string("/proc/stat").unwrap_or_default());
        Some(Reading { at: self.effects.now(), usage, system, interfaces })
    }
}

/// The counters of a namespace's interfaces; none if it is gone.
async fn counters(netns: &Path) -> BTreeMap<String, Counters> {
    let read = || Ok(fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default());
    let text = NetContext::at(netns).enter(read).await.unwrap_or_default();
    devices(&text)
}

/// `/proc/net/dev`: two lines of headings, then `eth0: bytes packets errs drop fifo frame compressed multicast bytes …`.
fn devices(text: &str) -> BTreeMap<String, Counters> {
    let row = |line: &str| {
        let (name, rest) = line.split_once(':')?;
        let n: Vec<u64> = rest.split_whitespace().map_while(|word| word.parse().ok()).collect();
        let [rx_bytes, rx_packets, rx_errors, rx_dropped, .., _, _, _, _] = n[..] else { return None };
        let [tx_bytes, tx_packets, tx_errors, tx_dropped] = *n.get(8..12)? else { return None };
        let counters =
            Counters { rx_bytes, rx_packets, rx_errors, rx_dropped, tx_bytes, tx_packets, tx_errors, tx_dropped };
        Some((name.trim().to_owned(), counters)).filter(|(name, _)| name != "lo")
    };
    text.lines().skip(2).filter_map(row).collect()
}

/// CPU time of the machine in nanoseconds, as Docker adds it up: the first seven columns, in hundredths of a second.
fn system(stat: &str) -> u64 {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu ")).unwrap_or_default();
    line.split_whitespace().take(7).filter_map(|n| n.parse::<u64>().ok()).sum::<u64>().saturating_mul(10_000_000)
}

/// Docker's shape, with what version 4 adds.
#[derive(Debug, Serialize)]
pub(super) struct Stats {
    read: String,
    preread: String,
    pids_stats: Pids,
    blkio_stats: Block,
    num_procs: u32,
    storage_stats: serde_json::Map<String, serde_json::Value>,
    cpu_stats: Cpu,
    precpu_stats: Cpu,
    memory_stats: Memory,
    name: String,
    id: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    networks: BTreeMap<String, Counters>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network_rate_stats: Option<Rates>,
}

impl Stats {
    /// Without what only version 4 has.
    pub(super) fn of_version_3(mut self) -> Self {
        self.network_rate_stats = None;
        self
    }
}

#[derive(Debug, Serialize)]
struct Pids {
    current: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Block {
    io_service_bytes_recursive: Vec<Entry>,
    io_serviced_recursive: Vec<Entry>,
    io_queue_recursive: [Entry; 0],
    io_service_time_recursive: [Entry; 0],
    io_wait_time_recursive: [Entry; 0],
    io_merged_recursive: [Entry; 0],
    io_time_recursive: [Entry; 0],
    sectors_recursive: [Entry; 0],
}

#[derive(Debug, Serialize)]
struct Entry {
    major: u64,
    minor: u64,
    op: &'static str,
    value: u64,
}

#[derive(Debug, Serialize)]
struct Cpu {
    cpu_usage: CpuUsage,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_cpu_usage: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    online_cpus: Option<usize>,
    throttling_data: Throttling,
}

#[derive(Debug, Serialize)]
struct CpuUsage {
    total_usage: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    percpu_usage: Vec<u64>,
    usage_in_kernelmode: u64,
    usage_in_usermode: u64,
}

#[derive(Debug, Serialize)]
struct Throttling {
    periods: u64,
    throttled_periods: u64,
    throttled_time: u64,
}

#[derive(Debug, Serialize)]
struct Memory {
    usage: u64,
    #[serde(skip_serializing_if = "is_zero")]
    max_usage: u64,
    stats: BTreeMap<String, u64>,
    limit: u64,
}

#[derive(Debug, Serialize)]
struct Rates {
    rx_bytes_per_sec: f64,
    tx_bytes_per_sec: f64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn render(id: &str, now: &Reading, before: Option<&Reading>) -> Stats {
    let usage = &now.usage;
    let limit = usage.memory_limit.unwrap_or_else(machine_memory);
    Stats {
        read: rfc3339(now.at),
        preread: before.map_or_else(|| NEVER.to_owned(), |before| rfc3339(before.at)),
        pids_stats: Pids { current: usage.pids, limit: usage.pids_limit },
        blkio_stats: block(&usage.devices),
        num_procs: 0,
        storage_stats: serde_json::Map::new(),
        cpu_stats: cpu(Some(now)),
        precpu_stats: cpu(before),
        memory_stats: Memory {
            usage: usage.memory,
            max_usage: usage.memory_max,
            stats: usage.memory_stat.clone(),
            limit,
        },
        // AWS: Docker's names begin with a slash.
        name: format!("/{id}"),
        id: id.to_owned(),
        networks: now.interfaces.clone(),
        network_rate_stats: before.map(|before| rates(now, before)),
    }
}

fn cpu(reading: Option<&Reading>) -> Cpu {
    let none = Usage::default();
    let usage = reading.map_or(&none, |reading| &reading.usage);
    Cpu {
        cpu_usage: CpuUsage {
            total_usage: usage.cpu,
            percpu_usage: usage.cpu_each.clone(),
            usage_in_kernelmode: usage.cpu_kernel,
            usage_in_usermode: usage.cpu_user,
        },
        system_cpu_usage: reading.map(|reading| reading.system),
        online_cpus: reading.map(|_| std::thread::available_parallelism().map_or(1, usize::from)),
        throttling_data: Throttling {
            periods: usage.periods,
            throttled_periods: usage.throttled_periods,
            throttled_time: usage.throttled,
        },
    }
}

fn block(devices: &[DeviceUsage]) -> Block {
    let entries = |read: fn(&DeviceUsage) -> u64, write: fn(&DeviceUsage) -> u64| {
        let both = devices.iter().flat_map(|device| [("Read", device, read(device)), ("Write", device, write(device))]);
        both.map(|(op, device, value)| Entry { major: device.major, minor: device.minor, op, value }).collect()
    };
    Block {
        io_service_bytes_recursive: entries(|d| d.read_bytes, |d| d.write_bytes),
        io_serviced_recursive: entries(|d| d.reads, |d| d.writes),
        io_queue_recursive: [],
        io_service_time_recursive: [],
        io_wait_time_recursive: [],
        io_merged_recursive: [],
        io_time_recursive: [],
        sectors_recursive: [],
    }
}

fn rates(now: &Reading, before: &Reading) -> Rates {
    let seconds = now.at.millis_since(before.at).max(1) as f64 / 1000.0;
    let sum = |reading: &Reading, of: fn(&Counters) -> u64| reading.interfaces.values().map(of).sum::<u64>();
    let rate = |of: fn(&Counters) -> u64| sum(now, of).saturating_sub(sum(before, of)) as f64 / seconds;
    Rates { rx_bytes_per_sec: rate(|c| c.rx_bytes), tx_bytes_per_sec: rate(|c| c.tx_bytes) }
}

/// The limit of a container that has none. AWS: Docker says the machine's memory.
fn machine_memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) << 10
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEV: &str = "Inter-|   Receive                                                |  Transmit\n \
        face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    \
        lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0\n  \
        eth0:    876      10    1    2    0     0          0         0      555       5    3    4    0     0       0          0\n";

    #[test]
    fn the_kernels_tables_are_read() {
        let found = devices(DEV);
        assert_eq!(found.keys().collect::<Vec<_>>(), ["eth0"], "the loopback is nobody's traffic");
        let eth0 = &found["eth0"];
        assert_eq!((eth0.rx_bytes, eth0.rx_packets, eth0.rx_errors, eth0.rx_dropped), (876, 10, 1, 2));
        assert_eq!((eth0.tx_bytes, eth0.tx_packets, eth0.tx_errors, eth0.tx_dropped), (555, 5, 3, 4));
        assert_eq!(system("cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1 1 1 1\n"), 280_000_000);
        assert!(devices("").is_empty());
    }

    #[test]
    fn the_shape_is_dockers() {
        let reading = |at: i64, cpu: u64, bytes: u64| Reading {
            at: Timestamp(at),
            usage: Usage { cpu, memory: 4096, memory_limit: Some(8192), pids: 1, ..Usage::default() },
            system: cpu * 10,
            interfaces: BTreeMap::from([("eth0".to_owned(), Counters { rx_bytes: bytes, ..Counters::default() })]),
        };
        let (before, now) = (reading(1_000, 100, 1000), reading(3_000, 300, 5000));
        let first = serde_json::to_value(render("a-web-1", &before, None)).unwrap();
        assert_eq!((first["preread"].as_str(), first["name"].as_str()), (Some(NEVER), Some("/a-web-1")));
        assert_eq!(first["precpu_stats"]["cpu_usage"]["total_usage"], 0);
        assert!(first.get("network_rate_stats").is_none(), "there is no rate of one reading");
        let second = serde_json::to_value(render("a-web-1", &now, Some(&before))).unwrap();
        assert_eq!(second["preread"], first["read"]);
        assert_eq!(second["precpu_stats"], first["cpu_stats"]);
        assert_eq!(second["network_rate_stats"]["rx_bytes_per_sec"], 2000.0);
        assert_eq!(second["memory_stats"]["limit"], 8192);
        let keys: Vec<_> = second.as_object().unwrap().keys().map(String::as_str).collect();
        let want = [
            "blkio_stats",
            "cpu_stats",
            "id",
            "memory_stats",
            "name",
            "network_rate_stats",
            "networks",
            "num_procs",
            "pids_stats",
            "precpu_stats",
            "preread",
            "read",
            "storage_stats",
        ];
        assert_eq!(keys, want, "as the original's");
        let third = serde_json::to_value(render("a-web-1", &now, Some(&before)).of_version_3()).unwrap();
        assert!(third.get("network_rate_stats").is_none());
    }
}
