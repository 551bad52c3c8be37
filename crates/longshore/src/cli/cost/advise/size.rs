//! Whether tasks hold far more or hardly enough, going by what they really used. Pure; nothing is said where nothing was measured.

use super::{Amount, judge::WORTH_USD};
use anyhow::Result;
use serde_json::{Value, json};
use shapes::ce;
use std::{collections::BTreeMap, fmt};

/// Memory of which so many hundredths were used is short: the next peak may be the last.
const SHORT_PERCENT: u128 = 90;
/// On instances memory is worth a word where so many times less would do; on Fargate wherever it saves.
const FAR_MORE: u32 = 2;

/// What was measured, and what would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Size {
    /// MiB.
    pub(super) reserved: u32,
    pub(super) peak: u32,
    /// In percent of what they hold, where they hold any.
    pub(super) cpu_average: Option<Amount>,
    pub(super) cpu_peak: Option<Amount>,
    /// MiB that would do, and how that size is called.
    pub(super) would_do: Option<(u32, String)>,
    /// USD; on Fargate.
    pub(super) saves: Option<Amount>,
}

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judged {
    Fits,
    /// Less would do.
    Over,
    /// It has hardly enough memory, or CPU.
    Under,
    Busy,
}

impl Size {
    /// Of a group's metrics; `None` where nothing was measured.
    pub(super) fn of(metrics: &BTreeMap<String, ce::MetricValue>) -> Result<Option<Self>> {
        let amount = |name: &str| -> Result<Option<Amount>> {
            let text = metrics.get(name).and_then(|metric| metric.amount.as_deref());
            text.map(str::parse).transpose()
        };
        let mib = |name: &str| {
            let whole = |amount: Amount| u32::try_from(amount.whole()).unwrap_or(u32::MAX);
            Ok::<_, anyhow::Error>(amount(name)?.map(whole))
        };
        let (Some(reserved), Some(peak)) = (mib("longshore:MemoryReserved")?, mib("longshore:MemoryPeak")?) else {
            return Ok(None);
        };
        let called = metrics.get("longshore:FittingSize").and_then(|metric| metric.unit.clone());
        let would_do = mib("longshore:FittingSize")?.zip(called);
        let would_do = would_do.map(|(memory, called)| match called.as_str() {
            "MiB" => (memory, format!("{memory} MiB")),
            _ => (memory, called),
        });
        Ok(Some(Self {
            reserved,
            peak,
            cpu_average: amount("longshore:CPUAverage")?,
            cpu_peak: amount("longshore:CPUPeak")?,
            would_do,
            saves: amount("longshore:FittingSaving")?,
        }))
    }

    /// Which of it is worth a word.
    pub(super) fn judge(&self) -> Judged {
        if self.reserved == 0 {
            return Judged::Fits;
        }
        if self.percent() >= SHORT_PERCENT {
            return Judged::Under;
        }
        if self.cpu_average.is_some_and(|share| share.whole() >= SHORT_PERCENT) {
            return Judged::Busy;
        }
        let Some((memory, called)) = &self.would_do else { return Judged::Fits };
        // Only a size of Fargate's has another name than its memory.
        let is_far_less = if called.contains("vCPU") {
            self.saves.is_some_and(|saves| saves >= WORTH_USD.parse().unwrap_or_default())
        } else {
            memory.saturating_mul(FAR_MORE) <= self.reserved
        };
        if is_far_less { Judged::Over } else { Judged::Fits }
    }

    fn percent(&self) -> u128 {
        u128::from(self.peak) * 100 / u128::from(self.reserved.max(1))
    }

    pub(super) fn json(&self) -> Value {
        let text = |known: Option<Amount>| known.map(|amount| amount.to_string());
        json!({
            "memoryReservedMib": self.reserved, "memoryPeakMib": self.peak,
            "cpuAveragePercent": text(self.cpu_average), "cpuPeakPercent": text(self.cpu_peak),
            "wouldDo": self.would_do.as_ref().map(|(_, called)| called),
            "saves": text(self.saves), "advice": self.judge().word(), "says": self.to_string(),
        })
    }
}

impl Judged {
    /// Its word, for scripts.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Fits => "fits",
            Self::Over => "oversized",
            Self::Under => "short-of-memory",
            Self::Busy => "short-of-cpu",
        }
    }
}

/// Nothing where the size fits.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reserved, peak, .. } = self;
        match self.judge() {
            Judged::Fits => Ok(()),
            Judged::Under => {
                write!(f, "used {} % of its memory ({peak} of {reserved} MiB): it needs more", self.percent())
            }
            Judged::Busy => {
                let share = self.cpu_average.unwrap_or_default().whole();
                write!(f, "used {share} % of its CPU all the time: it may run faster with more")
            }
            Judged::Over => {
                let (_, called) = self.would_do.clone().unwrap_or_default();
                write!(f, "reserved {reserved} MiB, used at most {peak}")?;
                if let Some(share) = self.cpu_peak.filter(|_| self.saves.is_some()) {
                    write!(f, " and {} % of its CPU", share.whole())?;
                }
                write!(f, ": {called} would do")?;
                match self.saves {
                    Some(saves) => write!(f, ", saves {} USD", saves.short()),
                    None => Ok(()),
                }
            }
        }
    }
}
