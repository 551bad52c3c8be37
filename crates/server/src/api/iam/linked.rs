//! Service-linked roles: what services of AWS's act as in an account. Nothing here acts as one; stacks make them all the same, and
//! expect to find them.

use super::{change, roles, text};
use crate::{
    api::ApiError,
    context::{Caller, Context},
    credentials::make_id,
};
use model::{
    Tags,
    iam::{Permissions, Role, SERVICE_ROLE_PATH},
};
use shapes::iam as aws;

/// A service and its role.
struct Linked {
    service: &'static str,
    role: &'static str,
    /// Its policy, if it is known here.
    policy: Option<&'static str>,
    /// Whether an account may have several, with what their makers put behind the name.
    suffix: bool,
}

/// The services that ECS stacks make roles for. Source: each service's guide.
const LINKED: &[Linked] = &[
    Linked {
        service: "ecs.amazonaws.com",
        role: "AWSServiceRoleForECS",
        policy: Some("arn:aws:iam::aws:policy/aws-service-role/AmazonECSServiceRolePolicy"),
        suffix: false,
    },
    Linked { service: "autoscaling.amazonaws.com", role: "AWSServiceRoleForAutoScaling", policy: None, suffix: true },
    Linked {
        service: "ecs.application-autoscaling.amazonaws.com",
        role: "AWSServiceRoleForApplicationAutoScaling_ECSService",
        policy: None,
        suffix: false,
    },
    Linked {
        service: "elasticloadbalancing.amazonaws.com",
        role: "AWSServiceRoleForElasticLoadBalancing",
        policy: None,
        suffix: false,
    },
    Linked { service: "spot.amazonaws.com", role: "AWSServiceRoleForEC2Spot", policy: None, suffix: false },
    Linked { service: "spotfleet.amazonaws.com", role: "AWSServiceRoleForEC2SpotFleet", policy: None, suffix: false },
];

/// What AWS calls the deletion of a service-linked role.
const TASK: &str = "task";

fn invalid(message: String) -> ApiError {
    ApiError::new("InvalidInput", message)
}

/// What a service's role is called, if the service is known.
pub(crate) fn role_name(service: &str) -> Option<&'static str> {
    LINKED.iter().find(|linked| linked.service == service).map(|linked| linked.role)
}

pub(super) async fn create(
    ctx: &Context,
    caller: &Caller,
    request: aws::CreateServiceLinkedRoleRequest,
) -> Result<aws::CreateServiceLinkedRoleResponse, ApiError> {
    let service = text(request.aws_service_name.as_ref());
    let known = LINKED.iter().find(|linked| linked.service == service);
    let known = known.ok_or_else(|| invalid(format!("Longshore knows no service-linked role of {service}.")))?;
    let name = match request.custom_suffix.as_deref().filter(|suffix| !suffix.is_empty()) {
        None => known.role.to_owned(),
        Some(suffix) if known.suffix => format!("{}_{suffix}", known.role),
        Some(_) => return Err(invalid(format!("Custom suffix is not allowed for {service}"))),
    };
    let role = Role {
        account: caller.account().clone(),
        name,
        path: format!("{SERVICE_ROLE_PATH}{service}/"),
        id: make_id::<17>("AROA", &ctx.effects),
        created_at: ctx.effects.now(),
        description: request.description.filter(|text| !text.is_empty()),
        trust: format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Action":["sts:AssumeRole"],"Effect":"Allow","Principal":{{"Service":["{service}"]}}}}]}}"#
        ),
        max_session_seconds: roles::USUAL_SESSION,
        tags: Tags::default(),
        permissions: Permissions {
            attached: known.policy.map(str::to_owned).into_iter().collect(),
            ..Permissions::default()
        },
    };
    let made = change(ctx, caller, |edit| edit.create_role(role.clone())).await;
    // AWS: words of its own, and another code than for any other role.
    made.map_err(|error| match error.code {
        "EntityAlreadyExists" => invalid(format!(
            "Service role name {} has been taken in this account, please try a different suffix.",
            role.name
        )),
        _ => error,
    })?;
    Ok(aws::CreateServiceLinkedRoleResponse { role: Some(roles::shown(&role, true)) })
}

/// Deletes at once; the answer is a task all the same, as clients wait for one.
pub(super) async fn delete(
    ctx: &Context,
    caller: &Caller,
    request: &aws::DeleteServiceLinkedRoleRequest,
) -> Result<aws::DeleteServiceLinkedRoleResponse, ApiError> {
    let name = text(request.role_name.as_ref());
    let path = change(ctx, caller, |edit| {
        let path = edit.directory().the_role(name)?.path.clone();
        edit.delete_service_linked_role(name)?;
        Ok(path)
    });
    let id = format!("{TASK}{}{name}/{}", path.await?, ctx.effects.uuid());
    Ok(aws::DeleteServiceLinkedRoleResponse { deletion_task_id: Some(id) })
}

/// A task is told when its role has gone.
pub(super) fn status(
    request: &aws::GetServiceLinkedRoleDeletionStatusRequest,
) -> Result<aws::GetServiceLinkedRoleDeletionStatusResponse, ApiError> {
    let id = text(request.deletion_task_id.as_ref());
    if !id.starts_with(&format!("{TASK}{SERVICE_ROLE_PATH}")) {
        return Err(ApiError::new("NoSuchEntity", format!("Deletion task {id} cannot be found.")).with_status(404));
    }
    Ok(aws::GetServiceLinkedRoleDeletionStatusResponse { status: Some("SUCCEEDED".to_owned()), reason: None })
}
