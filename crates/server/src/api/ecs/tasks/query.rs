//! DescribeTasks and ListTasks.

use crate::{
    api::{
        ApiError,
        ecs::{missing_named, resolve},
        paging::{Pages, invalid_token, limit},
    },
    context::{Caller, Context},
};
use model::{ClusterArn, Family, LaunchType, TaskId};
use shapes::ecs as aws;
use state::{Desire, Snapshot, TaskFilter};

/// Tasks of one DescribeTasks. Source: the model's documentation.
const MAX_DESCRIBED: usize = 100;
/// Tasks of one page of ListTasks.
const MAX_LISTED: usize = 100;

pub(crate) fn describe(
    ctx: &Context,
    caller: &Caller,
    request: aws::DescribeTasksRequest,
) -> Result<aws::DescribeTasksResponse, ApiError> {
    let named = request.tasks.unwrap_or_default();
    if named.is_empty() {
        return Err(ApiError::invalid("Tasks cannot be empty."));
    }
    if named.len() > MAX_DESCRIBED {
        return Err(ApiError::invalid("Tasks cannot have more than 100 elements."));
    }
    let snapshot = ctx.store.snapshot();
    let cluster = resolve::active_cluster(&snapshot, &caller.scope, request.cluster.as_deref())?;
    let with_tags = request.include.unwrap_or_default().iter().any(|what| what == "TAGS");
    let (mut tasks, mut failures) = (Vec::new(), Vec::new());
    for name in named {
        match resolve::task_arn(&cluster, &name).and_then(|arn| snapshot.task(&arn)) {
            Some(task) => tasks.push(super::render::task(&snapshot, task, with_tags)),
            None => failures.push(missing_named(&cluster, "task", &name)),
        }
    }
    Ok(aws::DescribeTasksResponse { tasks: Some(tasks), failures: Some(failures) })
}

pub(crate) fn list(
    ctx: &Context,
    caller: &Caller,
    request: &aws::ListTasksRequest,
) -> Result<aws::ListTasksResponse, ApiError> {
    let limit = limit(request.max_results, MAX_LISTED)?;
    let snapshot = ctx.store.snapshot();
    let cluster = resolve::active_cluster(&snapshot, &caller.scope, request.cluster.as_deref())?;
    let pages = Pages::of("ListTasks", &caller.scope).within(&cluster);
    let after = pages.cursor(request.next_token.as_deref())?;
    let after = after.map(TaskId::parse).transpose().map_err(|_| invalid_token())?;
    let none = aws::ListTasksResponse { task_arns: Some(Vec::new()), next_token: None };
    let Some(filter) = filter(&snapshot, &cluster, request)? else { return Ok(none) };
    let filter = TaskFilter { after, ..filter };
    let tasks = snapshot.tasks(&cluster, &filter);
    let (page, next_token) = pages.cut(tasks, limit, |task| task.arn.id.to_string());
    let arns = page.iter().map(|task| task.arn.to_string()).collect();
    Ok(aws::ListTasksResponse { task_arns: Some(arns), next_token })
}

/// What the request asks for; `None` if nothing can meet it.
fn filter(
    snapshot: &Snapshot,
    cluster: &ClusterArn,
    request: &aws::ListTasksRequest,
) -> Result<Option<TaskFilter>, ApiError> {
    let set = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let (family, service) = (set(&request.family), set(&request.service_name));
    let (instance, started_by) = (set(&request.container_instance), set(&request.started_by));
    let others = [family.is_some(), service.is_some(), instance.is_some()];
    if started_by.is_some() && others.contains(&true) {
        return Err(ApiError::invalid("startedBy cannot be combined with another filter."));
    }
    let desired = match set(&request.desired_status).as_deref() {
        None | Some("RUNNING") => Desire::Running,
        Some("STOPPED") => Desire::Stopped,
        // AWS: accepted, and no task's desired status ever is.
        Some("PENDING") => return Ok(None),
        Some(_) => {
            return Err(ApiError::invalid("Invalid desiredStatus. It must be one of RUNNING, PENDING, STOPPED."));
        }
    };
    let launch_type = match set(&request.launch_type).as_deref() {
        None => None,
        Some("EC2") => Some(LaunchType::Ec2),
        Some("EXTERNAL") => Some(LaunchType::External),
        Some("FARGATE") => Some(LaunchType::Fargate),
        Some("MANAGED_INSTANCES") => return Ok(None),
        Some(other) => return Err(ApiError::invalid(format!("Invalid launchType {other}."))),
    };
    let family = match family.map(Family::parse) {
        Some(Err(_)) => return Ok(None),
        other => other.transpose().ok().flatten(),
    };
    let container_instance = match instance {
        None => None,
        Some(name) => {
            let known = resolve::container_instance_arn(cluster, &name).filter(|arn| snapshot.instance(arn).is_some());
            let known =
                known.ok_or_else(|| ApiError::invalid(format!("Referenced container instance {name} not found.")))?;
            Some(known.id)
        }
    };
    let group = match service {
        None => None,
        Some(name) => {
            let known = resolve::service_arn(cluster, &name)?.filter(|arn| snapshot.service(arn).is_some());
            Some(known.ok_or_else(ApiError::service_not_found)?.group().to_string())
        }
    };
    Ok(Some(TaskFilter { desired, family, container_instance, started_by, group, launch_type, after: None }))
}
