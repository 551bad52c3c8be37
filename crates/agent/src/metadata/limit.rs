//! How often a task may ask: a bucket of tokens for each, as the original has one for each address.

use model::TaskArn;
use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Buckets kept at the same time. Full ones are forgotten first; an instance runs some hundred tasks.
const BUCKETS: usize = 4096;

/// Requests a second and at once: the original's `ECS_TASK_METADATA_RPS_LIMIT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// A second, over time.
    pub steady: u32,
    /// At once.
    pub burst: u32,
}

impl Default for Rate {
    /// Source: the original agent's defaults (`config.DefaultTaskMetadataSteadyStateRate`, `…BurstRate`).
    fn default() -> Self {
        Self { steady: 40, burst: 60 }
    }
}

impl std::str::FromStr for Rate {
    type Err = String;

    /// `40,60`.
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.trim().parse::<u32>().ok().filter(|number| *number > 0);
        match text.split_once(',').map(|(steady, burst)| (number(steady), number(burst))) {
            Some((Some(steady), Some(burst))) => Ok(Self { steady, burst }),
            Some(_) | None => Err("it is two numbers above 0, a second and at once, such as 40,60".to_owned()),
        }
    }
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Asker {
    /// A task, by the id it asked with.
    Task(TaskArn),
    /// Somebody with no id that is known.
    Stranger(IpAddr),
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Duration,
}

/// Everybody's buckets.
pub(super) struct Limits {
    rate: Rate,
    buckets: Mutex<BTreeMap<Asker, Bucket>>,
}

impl Limits {
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, buckets: Mutex::default() }
    }

    fn filled(&self, bucket: Bucket, now: Duration) -> f64 {
        let since = now.saturating_sub(bucket.at).as_secs_f64();
        (bucket.tokens + since * f64::from(self.rate.steady)).min(f64::from(self.rate.burst))
    }

    /// Takes a token, if there is one.
    pub(super) fn admits(&self, asker: &Asker, now: Duration) -> bool {
        let burst = f64::from(self.rate.burst);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= BUCKETS && !buckets.contains_key(asker) {
            buckets.retain(|_, bucket| self.filled(*bucket, now) < burst);
            if buckets.len() >= BUCKETS {
                return false;
            }
        }
        let tokens = buckets.get(asker).map_or(burst, |bucket| self.filled(*bucket, now));
        let admitted = tokens >= 1.0;
        let left = if admitted { tokens - 1.0 } else { tokens };
        buckets.insert(asker.clone(), Bucket { tokens: left, at: now });
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_burst_and_then_the_steady_rate() {
        let limits = Limits::new(Rate::default());
        let (one, other) = (Asker::Stranger([172, 17, 0, 2].into()), Asker::Stranger([172, 17, 0, 3].into()));
        let asked = |asker: &Asker, at: u64, times: usize| {
            (0..times).filter(|_| limits.admits(asker, Duration::from_millis(at))).count()
        };
        assert_eq!(asked(&one, 0, 100), 60);
        assert_eq!(asked(&other, 0, 1), 1, "it has its own");
        assert_eq!(asked(&one, 500, 100), 20, "half a second's");
        assert_eq!(asked(&one, 60_000, 100), 60, "never more than the burst");
    }

    #[test]
    fn the_setting_is_read_as_the_original_writes_it() {
        assert_eq!("40,60".parse(), Ok(Rate::default()));
        assert_eq!(" 5, 9".parse(), Ok(Rate { steady: 5, burst: 9 }));
        for bad in ["", "40", "0,60", "40,-1", "a,b", "1,2,3"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
    }

    #[test]
    fn there_is_an_end_to_the_buckets() {
        let limits = Limits::new(Rate { steady: 1, burst: 1 });
        let asker = |n: u32| Asker::Stranger(std::net::Ipv4Addr::from_bits(n).into());
        let many = u32::try_from(BUCKETS).unwrap();
        assert!((0..many).all(|n| limits.admits(&asker(n), Duration::ZERO)));
        assert!(!limits.admits(&asker(many), Duration::ZERO), "there is no room to count it");
        assert!(limits.admits(&asker(many), Duration::from_secs(2)), "those that are full again went");
    }
}
