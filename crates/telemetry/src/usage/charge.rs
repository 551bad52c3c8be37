//! What a usage is charged for, under the names that AWS's bills have.

use super::{Resource, Usage};
use std::sync::Arc;

/// What a quantity is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)] // Their words say it.
pub enum Unit {
    VcpuHours,
    GbHours,
    Hours,
}

impl Unit {
    /// AWS's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::VcpuHours => "vCPU-Hours",
            Self::GbHours => "GB-Hours",
            Self::Hours => "Hrs",
        }
    }
}

/// One thing that a usage is charged for, every second that it lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// AWS's name of it on bills, without what stands there for the region.
    pub usage_type: Arc<str>,
    /// What it is counted in.
    pub unit: Unit,
    /// How much of the unit there is at any time, in 1,024ths.
    pub amount: u64,
}

/// The instance type of a machine that has none.
const NO_TYPE: &str = "unknown";

impl Usage {
    /// What it is charged for.
    pub fn charges(&self) -> Vec<Charge> {
        let charge = |usage_type: &str, unit, amount| Charge { usage_type: usage_type.into(), unit, amount };
        match &self.what {
            Resource::Fargate { cpu, memory, storage, arm, spot } => {
                let spot = if *spot { "SpotUsage-" } else { "" };
                let arm = if *arm { "ARM-" } else { "" };
                let mut charges = vec![
                    charge(&format!("{spot}Fargate-{arm}vCPU-Hours:perCPU"), Unit::VcpuHours, (*cpu).into()),
                    charge(&format!("{spot}Fargate-{arm}GB-Hours"), Unit::GbHours, (*memory).into()),
                ];
                if *storage > 0 {
                    let amount = u64::from(*storage) * 1_024;
                    charges.push(charge("Fargate-EphemeralStorage-GB-Hours", Unit::GbHours, amount));
                }
                charges
            }
            Resource::OnInstance { cpu, memory, external, on: _ } => {
                // AWS lists no tasks of ECS Anywhere; ours are listed under a name of the same form.
                let place = if *external { "Anywhere" } else { "EC2" };
                vec![
                    charge(&format!("ECS-{place}-vCPU-Hours"), Unit::VcpuHours, (*cpu).into()),
                    charge(&format!("ECS-{place}-GB-Hours"), Unit::GbHours, (*memory).into()),
                ]
            }
            Resource::Instance { instance_type } => {
                let kind = instance_type.as_deref().unwrap_or(NO_TYPE);
                vec![charge(&format!("BoxUsage:{kind}"), Unit::Hours, 1_024)]
            }
            Resource::External => vec![charge("ECS-Anywhere-Instance-hours", Unit::Hours, 1_024)],
        }
    }
}
