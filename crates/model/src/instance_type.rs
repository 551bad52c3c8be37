//! Instance types: what `RunInstances` may ask for, with the original's real vCPU and memory figures.
//!
//! Prices are on-demand Linux in us-east-1, in millionths of a US dollar an hour; placement uses them only to break ties.

/// One instance type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstanceType {
    /// `family.size`
    pub name: &'static str,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Millionths of a US dollar an hour.
    pub price_micro_usd_hour: u32,
    /// Network interfaces that tasks may have: all that the type has but the instance's own.
    pub interfaces: u32,
    /// The same where the account has chosen `awsvpcTrunking`; 0 for a type that knows none.
    pub trunked: u32,
}

const fn t(
    name: &'static str,
    vcpus: u32,
    memory_mib: u32,
    price_micro_usd_hour: u32,
    interfaces: u32,
    trunked: u32,
) -> InstanceType {
    InstanceType { name, vcpus, memory_mib, price_micro_usd_hour, interfaces, trunked }
}

/// Interfaces for tasks on a machine that is of no type: as many as keep its rules and links quick to change.
const WITHOUT_TYPE: u32 = 250;

/// Network interfaces that tasks may have on an instance. Source: "Supported instances for increased Amazon ECS container
/// network interfaces" in the developer guide, and EC2's table of interfaces per type.
pub fn task_interfaces(kind: Option<&str>, trunking: bool) -> u32 {
    let Some(known) = kind.and_then(find) else { return WITHOUT_TYPE };
    if trunking { known.trunked.max(known.interfaces) } else { known.interfaces }
}

/// All types, cheapest first within a family.
pub const ALL: &[InstanceType] = &[
    t("t2.nano", 1, 512, 5_800, 1, 0),
    t("t2.micro", 1, 1_024, 11_600, 1, 0),
    t("t2.small", 1, 2_048, 23_000, 2, 0),
    t("t2.medium", 2, 4_096, 46_400, 2, 0),
    t("t2.large", 2, 8_192, 92_800, 2, 0),
    t("t2.xlarge", 4, 16_384, 185_600, 2, 0),
    t("t2.2xlarge", 8, 32_768, 371_200, 2, 0),
    t("t3.nano", 2, 512, 5_200, 1, 0),
    t("t3.micro", 2, 1_024, 10_400, 1, 0),
    t("t3.small", 2, 2_048, 20_800, 2, 0),
    t("t3.medium", 2, 4_096, 41_600, 2, 0),
    t("t3.large", 2, 8_192, 83_200, 2, 0),
    t("t3.xlarge", 4, 16_384, 166_400, 3, 0),
    t("t3.2xlarge", 8, 32_768, 332_800, 3, 0),
    t("m5.large", 2, 8_192, 96_000, 2, 10),
    t("m5.xlarge", 4, 16_384, 192_000, 3, 20),
    t("m5.2xlarge", 8, 32_768, 384_000, 3, 40),
    t("m5.4xlarge", 16, 65_536, 768_000, 7, 60),
    t("m6i.large", 2, 8_192, 96_000, 2, 10),
    t("m6i.xlarge", 4, 16_384, 192_000, 3, 20),
    t("m6i.2xlarge", 8, 32_768, 384_000, 3, 40),
    t("m6i.4xlarge", 16, 65_536, 768_000, 7, 60),
    t("c5.large", 2, 4_096, 85_000, 2, 10),
    t("c5.xlarge", 4, 8_192, 170_000, 3, 20),
    t("c5.2xlarge", 8, 16_384, 340_000, 3, 40),
    t("c5.4xlarge", 16, 32_768, 680_000, 7, 60),
    t("c6i.large", 2, 4_096, 85_000, 2, 10),
    t("c6i.xlarge", 4, 8_192, 170_000, 3, 20),
    t("c6i.2xlarge", 8, 16_384, 340_000, 3, 40),
    t("r5.large", 2, 16_384, 126_000, 2, 10),
    t("r5.xlarge", 4, 32_768, 252_000, 3, 20),
    t("r5.2xlarge", 8, 65_536, 504_000, 3, 40),
];

/// The type of that name.
pub fn find(name: &str) -> Option<&'static InstanceType> {
    ALL.iter().find(|t| t.name == name)
}
