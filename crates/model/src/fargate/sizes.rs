//! How large a task on Fargate may be.

use super::Size;
use crate::{CpuUnits, MemoryMib};

/// Memory that goes with a number of CPU units, in MiB: from the first to the last, in steps.
struct Row {
    cpu: u32,
    first: u32,
    last: u32,
    step: u32,
}

const fn row(cpu: u32, first: u32, last: u32, step: u32) -> Row {
    Row { cpu, first, last, step }
}

/// Source: "Task CPU and memory" in the developer guide. The last three have been documented since 2026.
const TABLE: [Row; 11] = [
    row(256, 512, 512, 512),
    row(256, 1_024, 2_048, 1_024),
    row(512, 1_024, 4_096, 1_024),
    row(1_024, 2_048, 8_192, 1_024),
    row(2_048, 4_096, 16_384, 1_024),
    row(4_096, 8_192, 30_720, 1_024),
    row(8_192, 16_384, 61_440, 4_096),
    row(16_384, 32_768, 122_880, 8_192),
    row(32_768, 61_440, 61_440, 1_024),
    row(32_768, 122_880, 122_880, 1_024),
    row(32_768, 249_856, 249_856, 1_024),
];

/// The first size that platform version 1.3.0 cannot run.
pub const SINCE_1_4: CpuUnits = CpuUnits(8_192);

/// The smallest and largest disk that can be asked for, in GiB. Source: `EphemeralStorage$sizeInGiB`.
pub const EPHEMERAL_STORAGE: std::ops::RangeInclusive<u32> = 21..=200;
/// The disk of a task that asks for none, in GiB. Source: the same.
pub const DEFAULT_EPHEMERAL_STORAGE: u32 = 20;

impl Size {
    /// Whether Fargate has it.
    pub fn exists(self) -> bool {
        let Self { cpu: CpuUnits(cpu), memory: MemoryMib(memory) } = self;
        let fits = |row: &Row| {
            cpu == row.cpu && (row.first..=row.last).contains(&memory) && (memory - row.first).is_multiple_of(row.step)
        };
        TABLE.iter().any(fits)
    }

    /// The smallest that holds so much. `None` if there is none so large. A greater number of CPU units is never the cheaper
    /// way to more memory, so the fewest come first.
    pub fn holding(cpu: CpuUnits, memory: MemoryMib) -> Option<Self> {
        let rows = TABLE.iter().filter(|row| row.cpu >= cpu.0 && row.last >= memory.0);
        rows.map(|row| {
            let steps = memory.0.saturating_sub(row.first).div_ceil(row.step);
            Self { cpu: CpuUnits(row.cpu), memory: MemoryMib(row.first + steps * row.step) }
        })
        .min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The developer guide's table, written out.
    fn guide() -> Vec<(u32, u32)> {
        let gib = |cpu: u32, sizes: &[u32]| sizes.iter().map(|gib| (cpu, gib << 10)).collect::<Vec<_>>();
        let all = |first: u32, last: u32, step: usize| (first..=last).step_by(step).collect::<Vec<_>>();
        let mut pairs = vec![(256, 512)];
        pairs.extend(gib(256, &[1, 2]));
        pairs.extend(gib(512, &[1, 2, 3, 4]));
        pairs.extend(gib(1_024, &all(2, 8, 1)));
        pairs.extend(gib(2_048, &all(4, 16, 1)));
        pairs.extend(gib(4_096, &all(8, 30, 1)));
        pairs.extend(gib(8_192, &[16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60]));
        pairs.extend(gib(16_384, &[32, 40, 48, 56, 64, 72, 80, 88, 96, 104, 112, 120]));
        assert_eq!(pairs.len(), 74);
        pairs.extend(gib(32_768, &[60, 120, 244]));
        pairs
    }

    #[test]
    fn sizes_are_the_guides_and_no_others() {
        let guide: std::collections::BTreeSet<_> = guide().into_iter().collect();
        let cpus = [0, 128, 255, 256, 257, 384, 512, 768, 1_024, 1_536, 2_048, 3_072, 4_096, 6_144, 8_192, 12_288]
            .into_iter()
            .chain([16_384, 24_576, 32_768, 65_536, u32::MAX]);
        let (mut right, mut wrong) = (0, 0);
        for cpu in cpus {
            for memory in (0..=262_144).step_by(512).chain([513, 1_000, 2_047, u32::MAX]) {
                let exists = Size { cpu: CpuUnits(cpu), memory: MemoryMib(memory) }.exists();
                assert_eq!(exists, guide.contains(&(cpu, memory)), "{cpu} units, {memory} MiB");
                if exists { right += 1 } else { wrong += 1 }
            }
        }
        assert_eq!(right, 77);
        assert!(wrong > 1_000, "{wrong}");
    }

    #[test]
    fn what_is_no_size_is_rounded_up_to_the_next() {
        let holding = |cpu: u32, memory: u32| {
            Size::holding(CpuUnits(cpu), MemoryMib(memory)).map(|size| (size.cpu.0, size.memory.0))
        };
        for (cpu, memory, want) in [
            (0, 0, Some((256, 512))),
            (256, 512, Some((256, 512))),
            (10, 513, Some((256, 1_024))),
            (256, 2_049, Some((512, 3_072))),
            (257, 100, Some((512, 1_024))),
            (1_024, 1_024, Some((1_024, 2_048))),
            (4_096, 31_000, Some((8_192, 32_768))),
            (16_385, 62_000, Some((32_768, 122_880))),
            (32_768, 249_857, None),
            (32_769, 512, None),
        ] {
            assert_eq!(holding(cpu, memory), want, "{cpu} units, {memory} MiB");
        }
        let guide = guide();
        for cpu in (0..=33_000).step_by(128) {
            for memory in (0..=250_880).step_by(512) {
                let plain = guide.iter().copied().filter(|(has, holds)| *has >= cpu && *holds >= memory).min();
                assert_eq!(holding(cpu, memory), plain, "{cpu} units, {memory} MiB");
            }
        }
    }
}
