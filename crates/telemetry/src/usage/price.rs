//! Prices: a file that the operator edits, of US dollars an hour by usage type.
//!
//! A usage type may be written with the prefix of a region, as on bills (`APN1-Fargate-GB-Hours`); one without holds for all
//! regions that have no own. What has no price is not free: reports name it.

use super::{Price, Unit};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// The version of the file's form.
const VERSION: u32 = 1;

/// Why a price list cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadPrices(String);

/// Prices by usage type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceList {
    prices: BTreeMap<Arc<str>, Price>,
    /// As of when they are, as the file says.
    pub dated: String,
    /// Where they are from, as the file says.
    pub source: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    v: u32,
    #[serde(default)]
    about: Vec<String>,
    dated: String,
    source: String,
    currency: String,
    prices_per_hour: BTreeMap<String, String>,
}

/// Of Fargate, ECS Anywhere and tasks on EC2 in us-east-1. AWS publishes no price of Spot, which moves; this is what it has
/// been lately.
const PUBLISHED: &[(&str, &str)] = &[
    ("ECS-Anywhere-GB-Hours", "0"),
    ("ECS-Anywhere-Instance-hours", "0.01025"),
    ("ECS-Anywhere-vCPU-Hours", "0"),
    ("ECS-EC2-GB-Hours", "0"),
    ("ECS-EC2-vCPU-Hours", "0"),
    ("Fargate-ARM-GB-Hours", "0.00356"),
    ("Fargate-ARM-vCPU-Hours:perCPU", "0.03238"),
    ("Fargate-EphemeralStorage-GB-Hours", "0.000111"),
    ("Fargate-GB-Hours", "0.004445"),
    ("Fargate-vCPU-Hours:perCPU", "0.04048"),
    ("SpotUsage-Fargate-ARM-GB-Hours", "0.0011"),
    ("SpotUsage-Fargate-ARM-vCPU-Hours:perCPU", "0.01"),
    ("SpotUsage-Fargate-GB-Hours", "0.00137"),
    ("SpotUsage-Fargate-vCPU-Hours:perCPU", "0.0125"),
];
const DATED: &str = "2026-06";
const SOURCE: &str = "aws.amazon.com/fargate/pricing, /ecs/anywhere/pricing, /ec2/pricing/on-demand (Linux, us-east-1)";
const ABOUT: [&str; 3] = [
    "US dollars an hour of one unit (a vCPU, a GB, an instance), by AWS's usage type. Longshore reads this file for every report.",
    "A usage type with a region's prefix (USW2-BoxUsage:m5.large) holds for that region, one without for all others.",
    "BoxUsage:unknown is a machine that was registered without an instance type; it has no price until you give it one.",
];

impl Default for PriceList {
    /// Those that AWS publishes for us-east-1.
    fn default() -> Self {
        let parse = |text: &str| text.parse().expect("the constant is a price");
        let published = PUBLISHED.iter().map(|(name, price)| (Arc::from(*name), parse(price)));
        let types = model::instance_type::ALL.iter().map(|kind| {
            let price = Price(u64::from(kind.price_micro_usd_hour) * 1_000_000);
            (format!("BoxUsage:{}", kind.name).into(), price)
        });
        Self { prices: published.chain(types).collect(), dated: DATED.to_owned(), source: SOURCE.to_owned() }
    }
}

impl PriceList {
    /// Reads a file's text.
    ///
    /// # Errors
    /// It is none, of a newer form, or one of its prices is none.
    pub fn parse(text: &str) -> Result<Self, BadPrices> {
        let file: File = serde_json::from_str(text).map_err(|error| BadPrices(error.to_string()))?;
        if file.v != VERSION {
            return Err(BadPrices(format!("it has format version {}; this longshore reads {VERSION}", file.v)));
        }
        if file.currency != "USD" {
            return Err(BadPrices(format!("its currency is '{}'; prices are in USD", file.currency)));
        }
        let price = |(name, text): (String, String)| match text.parse() {
            Ok(price) => Ok((name.into(), price)),
            Err(wrong) => Err(BadPrices(format!("{name}: {wrong}"))),
        };
        let prices = file.prices_per_hour.into_iter().map(price).collect::<Result<_, _>>()?;
        Ok(Self { prices, dated: file.dated, source: file.source })
    }

    /// The text of a file with these prices.
    pub fn render(&self) -> String {
        let text = |(name, price): (&Arc<str>, &Price)| {
            let all = format!("{}.{:012}", price.0 / 10_u64.pow(12), price.0 % 10_u64.pow(12));
            (name.to_string(), all.trim_end_matches('0').trim_end_matches('.').to_owned())
        };
        let file = File {
            v: VERSION,
            about: ABOUT.map(str::to_owned).into(),
            dated: self.dated.clone(),
            source: self.source.clone(),
            currency: "USD".to_owned(),
            prices_per_hour: self.prices.iter().map(text).collect(),
        };
        let mut text = serde_json::to_string_pretty(&file).expect("a map of texts is JSON");
        text.push('\n');
        text
    }

    /// The price of a usage type in a region: its own or everybody's.
    pub fn find(&self, region: &str, usage_type: &str) -> Option<Price> {
        let own = self.prices.get(&*Self::on_bill(region, usage_type));
        own.or_else(|| self.prices.get(usage_type)).copied()
    }

    /// The usage type as it stands on a bill: with the region's prefix, which EC2 leaves out in us-east-1.
    pub fn on_bill(region: &str, usage_type: &str) -> String {
        match (region, usage_type.starts_with("BoxUsage:")) {
            ("us-east-1", true) => usage_type.to_owned(),
            _ => format!("{}-{usage_type}", prefix(region)),
        }
    }

    /// The price of one unit, for whoever reckons with it.
    pub fn fargate(&self, region: &str, spot: bool, arm: bool, unit: Unit) -> Option<Price> {
        let (spot, arm) = (if spot { "SpotUsage-" } else { "" }, if arm { "ARM-" } else { "" });
        let name = match unit {
            Unit::VcpuHours => format!("{spot}Fargate-{arm}vCPU-Hours:perCPU"),
            Unit::GbHours => format!("{spot}Fargate-{arm}GB-Hours"),
            Unit::Hours => return None,
        };
        self.find(region, &name)
    }
}

/// What stands before usage types on bills of a region. One that is not AWS's stands for itself.
fn prefix(region: &str) -> &str {
    match region {
        "us-east-1" => "USE1",
        "us-east-2" => "USE2",
        "us-west-1" => "USW1",
        "us-west-2" => "USW2",
        "ca-central-1" => "CAN1",
        "sa-east-1" => "SAE1",
        "eu-west-1" => "EU",
        "eu-west-2" => "EUW2",
        "eu-west-3" => "EUW3",
        "eu-central-1" => "EUC1",
        "eu-north-1" => "EUN1",
        "eu-south-1" => "EUS1",
        "ap-northeast-1" => "APN1",
        "ap-northeast-2" => "APN2",
        "ap-northeast-3" => "APN3",
        "ap-southeast-1" => "APS1",
        "ap-southeast-2" => "APS2",
        "ap-south-1" => "APS3",
        other => other,
    }
}
