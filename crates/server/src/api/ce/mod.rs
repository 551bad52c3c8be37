//! Cost Explorer: what was used and what it costs, from the usage ledger and the operator's price list.
//!
//! The figures are exact and of this moment; AWS's are a day old. Money is in US dollars and all kinds of cost are the same,
//! since there are no contracts to spread. Besides there are metrics of our own, which say what the same would have cost elsewhere
//! (`advised`). Deliberately absent, and refused by name: cost categories, product attributes,
//! billing views, and dimensions that nothing here has.

mod advised;
mod filter;
mod keys;
mod period;
mod render;

use super::{
    ApiError, answer,
    honoured::{Row, row},
    no_arm,
    paging::Pages,
    read,
};
use crate::{
    context::{Caller, Context},
    usage::advice::Figures,
};
use advised::Advised;
use filter::Filter;
use keys::Key;
use period::Period;
use serde_json::Value;
use sha2::{Digest, Sha256};
use shapes::ce as aws;
use std::{collections::BTreeMap, io};
use telemetry::usage::{Charge, LedgerError, PriceList, Sums, Total, Usage};

pub(crate) const HONOURED: &[Row] =
    &[row("GetCostAndUsage", &["Filter.*", "Granularity", "GroupBy.*", "Metrics", "NextPageToken", "TimePeriod.*"])];

/// Groups on one page, of all its periods together: a few MiB of JSON.
const PAGE: usize = 5_000;
/// Groups that are reckoned with at once, which bounds memory at some 200 MB.
const MAX_GROUPS: usize = 500_000;

/// Answers one operation of Cost Explorer.
pub(crate) async fn dispatch(ctx: &Context, caller: &Caller, operation: &str, input: Value) -> Result<Value, ApiError> {
    match operation {
        "GetCostAndUsage" => answer(cost_and_usage(ctx, caller, read(input)?).await),
        other => Err(no_arm(other)),
    }
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new("ValidationException", message)
}

fn not_honoured(what: &str) -> ApiError {
    invalid(format!("Longshore does not honour {what} yet; remove it or see docs/cost.md."))
}

/// What a request asks.
struct Question {
    period: Period,
    keys: Vec<Key>,
    filter: Option<Filter>,
    metrics: Vec<String>,
}

impl Question {
    fn parse(request: &aws::GetCostAndUsageRequest) -> Result<Self, ApiError> {
        let groups = request.group_by.as_deref().unwrap_or_default();
        if groups.len() > 2 {
            return Err(invalid("GroupBy can have up to two keys."));
        }
        let group = |group: &aws::GroupDefinition| {
            Key::parse(group.r#type.as_deref().unwrap_or_default(), group.key.as_deref().unwrap_or_default())
        };
        let question = Self {
            period: Period::parse(request.time_period.as_ref(), request.granularity.as_deref().unwrap_or_default())?,
            keys: groups.iter().map(group).collect::<Result<_, _>>()?,
            filter: request.filter.as_ref().map(Filter::parse).transpose()?,
            metrics: render::metrics(request.metrics.as_deref().unwrap_or_default())?,
        };
        let is_of_charges =
            question.keys.iter().any(Key::is_of_charges) || question.filter.as_ref().is_some_and(Filter::is_of_charges);
        match question.metrics.iter().find(|name| advised::is_metric(name)) {
            Some(name) if is_of_charges => {
                Err(invalid(format!("{name} is of whole tasks and instances, not of USAGE_TYPE.")))
            }
            Some(_) | None => Ok(question),
        }
    }

    fn lets(&self, usage: &Usage, charge: &Charge) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.lets(usage, charge))
    }

    fn labels(&self, usage: &Usage, charge: &Charge) -> Vec<String> {
        self.keys.iter().map(|key| key.label(usage, charge)).collect()
    }
}

/// What came together under the same keys in each period, with what the same would have cost elsewhere if that was asked.
type Totals = Vec<BTreeMap<Vec<String>, (Total, Figures)>>;

async fn cost_and_usage(
    ctx: &Context,
    caller: &Caller,
    mut request: aws::GetCostAndUsageRequest,
) -> Result<aws::GetCostAndUsageResponse, ApiError> {
    let token = request.next_page_token.take();
    let question = Question::parse(&request)?;
    // A token is good for the same question only.
    let asked = hex::encode(Sha256::digest(wire::to_value(&request).to_string()));
    let pages = Pages::of("GetCostAndUsage", &caller.scope).within(&asked);
    let wrong = |_| ApiError::new("InvalidNextTokenException", "The pagination token is invalid.");
    let cursor = pages.cursor(token.as_deref()).map_err(wrong)?;

    let (own, account) = (ctx.clone(), caller.account().clone());
    let reckoned = tokio::task::spawn_blocking(move || {
        let totals = reckon(&own, account.as_str(), &question);
        (question, totals)
    });
    let (question, totals) = reckoned.await.map_err(|_| ApiError::server("The server is shutting down."))?;
    let totals = totals?;
    let attributes = render::unpriced(&totals);
    let rows = render::rows(&question.period, totals);
    let rest = rows.into_iter().filter(|row| cursor.as_deref().is_none_or(|cursor| row.place().as_str() > cursor));
    let (page, next_page_token) = pages.cut(rest, PAGE, render::Row::place);
    let now = ctx.effects.now();
    Ok(aws::GetCostAndUsageResponse {
        dimension_value_attributes: Some(attributes),
        group_definitions: request.group_by,
        next_page_token,
        results_by_time: Some(render::results(&question, page, cursor.is_none(), now)),
    })
}

/// Goes through all usage of the period. Blocks.
fn reckon(ctx: &Context, account: &str, question: &Question) -> Result<Totals, ApiError> {
    let prices: PriceList = crate::prices::read(&ctx.config).map_err(|error| unavailable(&error))?;
    let mut sums = Sums::new(question.period.windows(), &prices);
    let mut advised =
        question.metrics.iter().any(|name| advised::is_metric(name)).then(|| Advised::new(ctx, question, &prices));
    let mut too_many = false;
    let damaged = crate::usage::each(ctx, question.period.whole(), |usage| {
        too_many = too_many || sums.len() > MAX_GROUPS;
        if too_many || usage.owner.scope.account.as_str() != account {
            return;
        }
        sums.add(usage, |charge| question.lets(usage, charge).then(|| question.labels(usage, charge)));
        advised.iter_mut().for_each(|advised| advised.add(usage));
    });
    for file in damaged.map_err(|error| of_ledger(&error))? {
        tracing::warn!(%file, "a part of the usage ledger is damaged; what it held is missing in reports");
    }
    if too_many {
        let text = format!("More than {MAX_GROUPS} groups; ask for a shorter period or another grouping.");
        return Err(ApiError::new("LimitExceededException", text));
    }
    let plain = |parts: BTreeMap<_, Total>| {
        parts.into_iter().map(|(keys, total)| (keys, (total, Figures::default()))).collect()
    };
    let mut totals: Totals = sums.finish().into_iter().map(plain).collect();
    if let Some(advised) = advised {
        advised.finish(&mut totals)?;
    }
    Ok(totals)
}

fn unavailable(error: &io::Error) -> ApiError {
    ApiError::new("DataUnavailableException", format!("The price list cannot be used: {error}"))
}

fn of_ledger(error: &LedgerError) -> ApiError {
    match error {
        LedgerError::TooMany => ApiError::new("LimitExceededException", format!("{error}; ask for a shorter one.")),
        LedgerError::Io { .. } | LedgerError::Newer { .. } => {
            ApiError::new("DataUnavailableException", format!("The usage ledger cannot be read: {error}"))
        }
    }
}
