//! Resource arithmetic: what an instance has, what a task holds, whether the one fits into the other.
//!
//! Units live in types; subtraction can not wrap, and ports are sets.

use crate::GpuId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// CPU units: 1,024 are one virtual CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct CpuUnits(pub u32);

/// Memory in mebibytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct MemoryMib(pub u32);

impl MemoryMib {
    /// The same amount in bytes.
    pub fn bytes(self) -> u64 {
        u64::from(self.0) << 20
    }
}

/// Transport protocol of a port. AWS: anything that is not `udp` counts as `tcp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// `tcp` or `udp`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// A port of a protocol on an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Port {
    /// Its protocol.
    pub protocol: Protocol,
    /// Its number, 1 to 65535.
    pub number: u16,
}

/// What a container instance has registered, or has left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(from = "StoredResources", into = "StoredResources")]
pub struct Resources {
    /// CPU units.
    pub cpu: CpuUnits,
    /// Memory.
    pub memory: MemoryMib,
    /// GPUs.
    pub gpus: BTreeSet<GpuId>,
    /// Ports that are taken (by the system or by tasks), not those that are free.
    pub ports: BTreeSet<Port>,
    /// Network interfaces that tasks may have. Of a registration the server counts them, by the instance's type.
    pub interfaces: u32,
}

/// [`Resources`] as they are written: GPUs were a number before they had ids, and that is still told to who knows no more.
#[derive(Serialize, Deserialize)]
struct StoredResources {
    cpu: CpuUnits,
    memory: MemoryMib,
    #[serde(default)]
    gpus: u32,
    ports: BTreeSet<Port>,
    #[serde(default, skip_serializing_if = "is_zero")]
    interfaces: u32,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    gpu_ids: BTreeSet<GpuId>,
}

impl From<StoredResources> for Resources {
    fn from(stored: StoredResources) -> Self {
        let StoredResources { cpu, memory, gpus: _, ports, interfaces, gpu_ids } = stored;
        Self { cpu, memory, gpus: gpu_ids, ports, interfaces }
    }
}

impl From<Resources> for StoredResources {
    fn from(all: Resources) -> Self {
        let Resources { cpu, memory, gpus, ports, interfaces } = all;
        Self { cpu, memory, gpus: count(&gpus), ports, interfaces, gpu_ids: gpus }
    }
}

fn count(gpus: &BTreeSet<GpuId>) -> u32 {
    u32::try_from(gpus.len()).unwrap_or(u32::MAX)
}

/// What one task holds on its instance from placement until it has stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Reservation {
    /// CPU units.
    pub cpu: CpuUnits,
    /// Memory: the sum over containers of reservation, else hard limit; or the task-level size.
    pub memory: MemoryMib,
    /// Number of GPUs.
    #[serde(default)]
    pub gpus: u32,
    /// Static host ports. Dynamic ones are chosen by the agent and reserve nothing here.
    #[serde(default)]
    pub ports: BTreeSet<Port>,
    /// Network interfaces: one for a task in mode `awsvpc`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub interfaces: u32,
    /// Which GPUs, once it has an instance.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub gpu_ids: BTreeSet<GpuId>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde calls it so.
pub(crate) fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// The first resource that a reservation does not find, in the order in which ECS names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lacking {
    /// `RESOURCE:CPU`
    Cpu,
    /// `RESOURCE:MEMORY`
    Memory,
    /// `RESOURCE:PORTS`
    Ports,
    /// `RESOURCE:GPU`
    Gpu,
    /// `RESOURCE:ENI`
    Eni,
}

impl Lacking {
    /// The reason text in `failures[]`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Cpu => "RESOURCE:CPU",
            Self::Memory => "RESOURCE:MEMORY",
            Self::Ports => "RESOURCE:PORTS",
            Self::Gpu => "RESOURCE:GPU",
            Self::Eni => "RESOURCE:ENI",
        }
    }
}

impl Resources {
    /// `None` if `want` fits into what is left here, else the first resource that is short.
    pub fn lacks(&self, want: &Reservation) -> Option<Lacking> {
        if self.cpu < want.cpu {
            Some(Lacking::Cpu)
        } else if self.memory < want.memory {
            Some(Lacking::Memory)
        } else if want.ports.iter().any(|p| self.ports.contains(p)) {
            Some(Lacking::Ports)
        } else if self.gpu_count() < want.gpus || !want.gpu_ids.is_subset(&self.gpus) {
            Some(Lacking::Gpu)
        } else if self.interfaces < want.interfaces {
            Some(Lacking::Eni)
        } else {
            None
        }
    }

    /// How many GPUs there are.
    pub fn gpu_count(&self) -> u32 {
        count(&self.gpus)
    }

    /// Takes `held` out of what is left. Never below zero: an instance that came back smaller than its tasks
    /// simply has nothing left.
    pub fn take(&mut self, held: &Reservation) {
        self.cpu.0 = self.cpu.0.saturating_sub(held.cpu.0);
        self.memory.0 = self.memory.0.saturating_sub(held.memory.0);
        self.gpus.retain(|id| !held.gpu_ids.contains(id));
        // What is only thought of has none yet: whichever they are.
        for _ in count(&held.gpu_ids)..held.gpus {
            self.gpus.pop_first();
        }
        self.interfaces = self.interfaces.saturating_sub(held.interfaces);
        self.ports.extend(held.ports.iter().copied());
    }
}
