//! Which to move. Pure: figures in, a verdict out, and never one that costs more.

use super::{Amount, Facts};
use serde::Serialize;
use std::fmt;

/// What is not worth the trouble: less than so much in percent of what it cost, and what is shown as nothing.
const WORTH_PERCENT: u128 = 1;
pub(super) const WORTH_USD: &str = "0.0001";

/// What to do with a service or family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// There is nothing to decide: it is no task.
    None,
    /// On which of its instances some tasks were is not known, so neither is what they cost.
    Unknown,
    /// It is nowhere cheaper.
    Stay,
    /// It is cheaper there.
    Move { to: To, saves: Amount, percent: u128, why: Option<Why> },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum To {
    /// EC2, on these instances.
    Ec2(String),
    /// It is on EC2, and these instances would do.
    Fewer(String),
    Fargate,
    Spot,
}

/// For how much of the time it ran, and for how much it must before instances that always stand pay, in percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Why {
    pub(super) ran: u64,
    pub(super) pays_from: u64,
}

pub(super) fn judge(facts: &Facts, launch_type: &str, spot: bool) -> Verdict {
    let Some(as_run) = facts.as_run else { return Verdict::Unknown };
    let is_on_fargate = launch_type == "FARGATE";
    let instances = facts.instances.clone().unwrap_or_default();
    let ec2 = if is_on_fargate { To::Ec2(instances) } else { To::Fewer(instances) };
    let choices =
        [(Some(ec2), facts.on_ec2), (Some(To::Fargate), facts.on_fargate), (spot.then_some(To::Spot), facts.on_spot)];
    // Of equals the first.
    let known = choices.into_iter().filter_map(|(to, cost)| Some((to?, cost?)));
    let Some((to, cost)) = known.min_by_key(|(_, cost)| *cost) else { return Verdict::Stay };
    let saves = as_run.above(cost).map(|saves| (saves, saves.percent_of(as_run)));
    let least = WORTH_USD.parse().unwrap_or_default();
    match saves.filter(|(saves, percent)| *percent >= WORTH_PERCENT && *saves >= least) {
        Some((saves, percent)) => {
            // Between those two it is a question of how long it runs; on fewer instances or on Spot it is not.
            let between = matches!(to, To::Ec2(_) | To::Fargate);
            Verdict::Move { to, saves, percent, why: why(facts).filter(|_| between) }
        }
        None => Verdict::Stay,
    }
}

fn why(facts: &Facts) -> Option<Why> {
    let percent = |amount: Amount| u64::try_from(amount.whole()).unwrap_or(u64::MAX);
    Some(Why { ran: percent(facts.ran?), pays_from: percent(facts.break_even?) })
}

impl Verdict {
    /// Its word, for scripts.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::None => "",
            Self::Unknown => "unknown",
            Self::Stay => "stay",
            Self::Move { to: To::Ec2(_), .. } => "move-to-ec2",
            Self::Move { to: To::Fewer(_), .. } => "fewer-instances",
            Self::Move { to: To::Fargate, .. } => "move-to-fargate",
            Self::Move { to: To::Spot, .. } => "move-to-fargate-spot",
        }
    }

    /// What it saves, and how many percent that is.
    pub(super) fn saves(&self) -> Option<(Amount, u128)> {
        match self {
            Self::Move { saves, percent, .. } => Some((*saves, *percent)),
            Self::None | Self::Unknown | Self::Stay => None,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (to, saves, percent, why) = match self {
            Self::None => return Ok(()),
            Self::Unknown => return f.write_str("not known: nobody noted on which instances its tasks were"),
            Self::Stay => return f.write_str("stay"),
            Self::Move { to, saves, percent, why } => (to, saves, percent, why),
        };
        match to {
            To::Ec2(instances) => write!(f, "move to EC2 ({instances})")?,
            To::Fewer(instances) => write!(f, "stay on EC2, on less ({instances})")?,
            To::Fargate => f.write_str("move to Fargate")?,
            To::Spot => f.write_str("move to Fargate Spot")?,
        }
        write!(f, ": saves {} USD ({percent} %)", saves.short())?;
        match why {
            Some(Why { ran, pays_from }) => {
                write!(f, "; it ran {ran} % of the time, and instances pay from {pays_from} % on")
            }
            None => Ok(()),
        }
    }
}
