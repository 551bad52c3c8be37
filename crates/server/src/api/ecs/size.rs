//! Task-level sizes, which AWS's wire writes as text: `256`, `.25 vCPU`, `1024`, `1 GB`.

use model::{CpuUnits, MemoryMib};

/// CPU in units, or in vCPUs with the unit's name behind; nothing and 0 are no size. The error is AWS's text.
pub(crate) fn cpu(given: Option<&str>) -> Result<Option<CpuUnits>, String> {
    let text = "Invalid 'cpu' setting for task. For more information, see the Troubleshooting section of the Amazon ECS \
                Developer Guide.";
    amount(given, "vcpu").map(|units| units.map(CpuUnits)).ok_or_else(|| text.to_owned())
}

/// Memory in MiB, or in GB with the unit's name behind; nothing and 0 are no size. The error is AWS's text.
pub(crate) fn memory(given: Option<&str>) -> Result<Option<MemoryMib>, String> {
    let text = "Invalid 'memory' setting for task. For more information, see the Troubleshooting section of the Amazon \
                ECS Developer Guide.";
    amount(given, "gb").map(|units| units.map(MemoryMib)).ok_or_else(|| text.to_owned())
}

/// The outer `None` is a text that is no amount.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // The bounds are checked on the line before.
fn amount(given: Option<&str>, big_unit: &str) -> Option<Option<u32>> {
    let Some(given) = given.filter(|given| !given.is_empty()) else { return Some(None) };
    let text = given.trim().to_ascii_lowercase();
    let units = match text.strip_suffix(big_unit) {
        None => text.parse().ok()?,
        Some(number) => {
            let units = number.trim().parse::<f64>().ok()? * 1024.0;
            if !(0.0..=f64::from(u32::MAX)).contains(&units) || units.fract() != 0.0 {
                return None;
            }
            units as u32
        }
    };
    Some((units != 0).then_some(units))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_aws_reads_them() {
        for (given, want) in [
            (None, Some(None)),
            (Some(""), Some(None)),
            (Some("0"), Some(None)),
            (Some("256"), Some(Some(256))),
            (Some(".25 vCPU"), Some(Some(256))),
            (Some("2vcpu"), Some(Some(2048))),
            (Some("1 vCPU"), Some(Some(1024))),
            (Some("0.0001 vCPU"), None),
            (Some("-1 vCPU"), None),
            (Some("nan vCPU"), None),
            (Some("a lot"), None),
            (Some("1 GB"), None),
            (Some(" \n"), None),
        ] {
            assert_eq!(cpu(given).ok().map(|c| c.map(|c| c.0)), want, "{given:?}");
        }
        assert_eq!(memory(Some("0.5GB")), Ok(Some(MemoryMib(512))));
        assert_eq!(memory(Some("512")), Ok(Some(MemoryMib(512))));
    }
}
