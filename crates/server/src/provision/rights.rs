//! What a task's execution role lets it be given. AWS: the agent asks as that role; here the server looks the same up for it.

use crate::roles::{self, Actor, TaskRoles};
use model::{LaunchType, LogDriver, Tags, Task, TaskDefinitionSpec, Timestamp};
use state::Snapshot;
use telemetry::driver::Awslogs;

/// The rights of a task's execution role, if it has one that is needed.
pub(super) struct Rights<'a>(Option<Actor<'a>>);

impl<'a> Rights<'a> {
    /// Those of a task. Its own role is looked at too: a task whose role is gone by now does not start.
    ///
    /// # Errors
    /// Why the task cannot start.
    pub(super) fn of(
        snapshot: &'a Snapshot,
        task: &Task,
        spec: &TaskDefinitionSpec,
        now: Timestamp,
    ) -> Result<Self, String> {
        let scope = &task.arn.cluster.scope;
        let TaskRoles { task: own, execution } = TaskRoles::of(spec, &task.overrides);
        if let Some(own) = own {
            roles::of_tasks(snapshot, scope, own).map_err(|error| error.message)?;
        }
        let Some(execution) = execution.filter(|_| roles::needs_execution_role(spec, task.launch_type)) else {
            return Ok(Self(None));
        };
        let role = roles::of_tasks(snapshot, scope, execution).map_err(|error| error.message)?;
        let directory = snapshot.directory(&scope.account);
        Ok(Self(directory.map(|directory| Actor::new(role, directory, scope, task.arn.id.as_str(), now))))
    }

    /// Whether the role may do something to a resource, by all of its ARNs, that has those tags.
    ///
    /// # Errors
    /// It may not, or there is none; the words of who is asked for it.
    pub(super) fn may(&self, action: &str, arns: &[&str], tags: Option<&Tags>) -> Result<(), String> {
        match &self.0 {
            Some(actor) => actor.may(action, arns, tags).map_err(|why| format!("AccessDeniedException: {why}")),
            None => Err("the task has no execution role (executionRoleArn)".to_owned()),
        }
    }

    /// Whether the role may write what the containers of a task of Fargate say. AWS: on instances their own role does that.
    ///
    /// # Errors
    /// Why the task cannot start.
    pub(super) fn may_log(&self, task: &Task, spec: &TaskDefinitionSpec) -> Result<(), String> {
        if task.launch_type != LaunchType::Fargate {
            return Ok(());
        }
        let scope = &task.arn.cluster.scope;
        for container in &spec.containers {
            let log = container.log_configuration.as_ref().filter(|log| log.driver == LogDriver::Awslogs);
            let Some(Ok(options)) = log.map(|log| Awslogs::parse(&log.options, model::LogMode::default())) else {
                continue;
            };
            let region = options.region.unwrap_or_else(|| scope.region.to_string());
            let group = format!("arn:aws:logs:{region}:{}:log-group:{}", scope.account, options.group);
            let prefix = options.stream_prefix.unwrap_or_default();
            let stream = format!("{group}:log-stream:{prefix}/{}/{}", container.name, task.arn.id);
            // As requests are judged: policies name a group in both forms.
            let streams = format!("{group}:log-stream:");
            let (stream, groups) = ([stream.as_str()], [streams.as_str(), group.as_str()]);
            let mut needed: Vec<(&str, &[&str])> =
                vec![("logs:CreateLogStream", &stream), ("logs:PutLogEvents", &stream)];
            if options.create_group {
                needed.insert(0, ("logs:CreateLogGroup", &groups));
            }
            for (action, arns) in needed {
                self.may(action, arns, None).map_err(|why| {
                    // AWS: its words, of whichever of the three was refused.
                    format!(
                        "ResourceInitializationError: failed to validate logger args: create stream has been retried 1 times: \
                         failed to create Cloudwatch log stream: {why} : exit status 1"
                    )
                })?;
            }
        }
        Ok(())
    }
}
