//! Log streams.

use super::{group_arn, group_named, page_limit, scope};
use crate::api::ApiError;
use crate::context::{Caller, Context};
use shapes::logs as aws;
use telemetry::logs::{StreamInfo, StreamOrder};
use wire::NoOutput;

pub(super) async fn create(
    ctx: &Context,
    caller: &Caller,
    request: aws::CreateLogStreamRequest,
) -> Result<NoOutput, ApiError> {
    let (group, stream) = (request.log_group_name.unwrap_or_default(), request.log_stream_name.unwrap_or_default());
    ctx.logs.create_stream(&scope(&caller.scope), &group, &stream, ctx.effects.now().0).await?;
    Ok(NoOutput {})
}

pub(super) async fn delete(
    ctx: &Context,
    caller: &Caller,
    request: aws::DeleteLogStreamRequest,
) -> Result<NoOutput, ApiError> {
    let (group, stream) = (request.log_group_name.unwrap_or_default(), request.log_stream_name.unwrap_or_default());
    ctx.logs.delete_stream(&scope(&caller.scope), &group, &stream).await?;
    Ok(NoOutput {})
}

pub(super) fn describe(
    ctx: &Context,
    caller: &Caller,
    request: &aws::DescribeLogStreamsRequest,
) -> Result<aws::DescribeLogStreamsResponse, ApiError> {
    let group = group_named(&caller.scope, request.log_group_name.clone(), request.log_group_identifier.clone())?;
    let prefix = request.log_stream_name_prefix.clone().unwrap_or_default();
    let order = match request.order_by.as_deref() {
        None | Some("" | "LogStreamName") => StreamOrder::Name { prefix },
        Some("LastEventTime") if prefix.is_empty() => StreamOrder::LastEventTime,
        Some("LastEventTime") => {
            return Err(ApiError::invalid("Cannot order by LastEventTime with a logStreamNamePrefix."));
        }
        Some(other) => return Err(ApiError::invalid(format!("Invalid orderBy '{other}'."))),
    };
    let token = request.next_token.as_deref().filter(|token| !token.is_empty());
    let descending = request.descending == Some(true);
    let limit = page_limit(request.limit);
    let page = ctx.logs.describe_streams(&scope(&caller.scope), &group, &order, descending, limit, token)?;
    let streams = page.items.into_iter().map(|stream| render(caller, &group, stream)).collect();
    Ok(aws::DescribeLogStreamsResponse { log_streams: Some(streams), next_token: page.next_token })
}

fn render(caller: &Caller, group: &str, stream: StreamInfo) -> aws::LogStream {
    aws::LogStream {
        arn: Some(format!("{}:log-stream:{}", group_arn(&caller.scope, group), stream.name)),
        creation_time: Some(stream.created_millis),
        first_event_timestamp: stream.first_event_millis,
        last_event_timestamp: stream.last_event_millis,
        last_ingestion_time: stream.last_ingestion_millis,
        log_stream_name: Some(stream.name),
        // AWS: always 0 for streams since 2019; what is stored is told of the group.
        stored_bytes: Some(0),
        upload_sequence_token: Some(stream.upload_sequence_token),
    }
}
