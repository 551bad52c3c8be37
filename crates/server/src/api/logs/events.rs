//! Log events: put, get, filter.

use super::{group_named, page_limit, scope};
use crate::api::ApiError;
use crate::context::{Caller, Context};
use shapes::logs as aws;
use std::sync::Arc;
use telemetry::logs::{Error, Event, FilterEvents, GetEvents, OutputEvent, Pattern, StreamChoice};

pub(super) async fn put(
    ctx: &Context,
    caller: &Caller,
    request: aws::PutLogEventsRequest,
) -> Result<aws::PutLogEventsResponse, ApiError> {
    let (group, stream) = (request.log_group_name.unwrap_or_default(), request.log_stream_name.unwrap_or_default());
    let event = |event: aws::InputLogEvent| Event {
        timestamp_millis: event.timestamp.unwrap_or(0),
        message: event.message.unwrap_or_default(),
    };
    let events = request.log_events.unwrap_or_default().into_iter().map(event).collect();
    let outcome = ctx.logs.put_events(&scope(&caller.scope), &group, &stream, events, ctx.effects.now().0).await?;
    let index = |at: Option<usize>| at.and_then(|at| i32::try_from(at).ok());
    let rejected = outcome.rejected.map(|rejected| aws::RejectedLogEventsInfo {
        expired_log_event_end_index: index(rejected.expired_end),
        too_new_log_event_start_index: index(rejected.too_new_start),
        too_old_log_event_end_index: index(rejected.too_old_end),
    });
    Ok(aws::PutLogEventsResponse {
        next_sequence_token: Some(outcome.next_sequence_token),
        rejected_entity_info: None,
        rejected_log_events_info: rejected,
    })
}

pub(super) async fn get(
    ctx: &Context,
    caller: &Caller,
    request: aws::GetLogEventsRequest,
) -> Result<aws::GetLogEventsResponse, ApiError> {
    let group = group_named(&caller.scope, request.log_group_name, request.log_group_identifier)?;
    let stream = request.log_stream_name.unwrap_or_default();
    let ask = GetEvents {
        start_millis: request.start_time,
        end_millis: request.end_time,
        limit: page_limit(request.limit),
        start_from_head: request.start_from_head == Some(true),
        token: request.next_token.filter(|token| !token.is_empty()),
    };
    let (logs, scope) = (ctx.logs.clone(), scope(&caller.scope));
    let page = reading(move || logs.get_events(&scope, &group, &stream, &ask)).await?;
    Ok(aws::GetLogEventsResponse {
        events: Some(page.events.into_iter().map(output).collect()),
        next_forward_token: Some(page.next_forward_token),
        next_backward_token: Some(page.next_backward_token),
    })
}

fn output(event: OutputEvent) -> aws::OutputLogEvent {
    aws::OutputLogEvent {
        timestamp: Some(event.timestamp_millis),
        ingestion_time: Some(event.ingestion_millis),
        message: Some(event.message),
    }
}

pub(super) async fn filter(
    ctx: &Context,
    caller: &Caller,
    request: aws::FilterLogEventsRequest,
) -> Result<aws::FilterLogEventsResponse, ApiError> {
    let group = group_named(&caller.scope, request.log_group_name, request.log_group_identifier)?;
    let names = request.log_stream_names.filter(|names| !names.is_empty());
    let streams = match (names, request.log_stream_name_prefix.filter(|prefix| !prefix.is_empty())) {
        (None, None) => StreamChoice::All,
        (Some(names), None) => StreamChoice::Named(names),
        (None, Some(prefix)) => StreamChoice::Prefix(prefix),
        (Some(_), Some(_)) => {
            return Err(ApiError::invalid("logStreamNames and logStreamNamePrefix are mutually exclusive parameters."));
        }
    };
    let ask = FilterEvents {
        streams,
        start_millis: request.start_time,
        end_millis: request.end_time,
        pattern: Arc::new(Pattern::parse(request.filter_pattern.as_deref().unwrap_or_default())?),
        limit: page_limit(request.limit),
        token: request.next_token.filter(|token| !token.is_empty()),
    };
    let (logs, scope) = (ctx.logs.clone(), scope(&caller.scope));
    let page = reading(move || logs.filter_events(&scope, &group, &ask)).await?;
    let events = page.events.into_iter().map(|found| aws::FilteredLogEvent {
        event_id: Some(found.event_id),
        log_stream_name: Some(found.stream.to_string()),
        timestamp: Some(found.event.timestamp_millis),
        ingestion_time: Some(found.event.ingestion_millis),
        message: Some(found.event.message),
    });
    let searched = page.searched.into_iter().map(|(stream, completely)| aws::SearchedLogStream {
        log_stream_name: Some(stream.to_string()),
        searched_completely: Some(completely),
    });
    Ok(aws::FilterLogEventsResponse {
        events: Some(events.collect()),
        searched_log_streams: Some(searched.collect()),
        next_token: page.next_token,
    })
}

/// The log store's readers open files, so they work off the async threads.
async fn reading<T: Send + 'static>(read: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, ApiError> {
    match tokio::task::spawn_blocking(read).await {
        Ok(read) => Ok(read?),
        Err(error) => {
            tracing::error!(%error, "reading logs failed; this is a defect, please report it");
            Err(ApiError::server("The logs could not be read; the server's log says why."))
        }
    }
}
