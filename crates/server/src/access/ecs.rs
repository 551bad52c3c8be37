//! What operations of ECS are about. Source: the service authorization reference, "Actions, resources, and condition keys for
//! Amazon Elastic Container Service".

use super::{
    About, Ask, Known,
    input::{items, text, texts},
};
use crate::{api::ecs::resolve, context::Caller};
use model::{ClusterArn, ContainerInstanceArn, ServiceArn, Tags, TaskArn, TaskDefinitionArn, TaskSetArn};
use serde_json::Value;
use state::Snapshot;
use std::{collections::BTreeSet, sync::Arc};
use wire::schema::Operation;

/// The operation's inputs as this table reads them.
struct Asked<'a> {
    snapshot: &'a Snapshot,
    caller: &'a Caller,
    operation: &'static Operation,
    action: &'a str,
    input: &'a Value,
}

pub(super) fn asks(
    snapshot: &Snapshot,
    caller: &Caller,
    operation: &'static Operation,
    action: &str,
    input: &Value,
) -> Vec<Ask> {
    let asked = Asked { snapshot, caller, operation, action, input };
    // Shared: a request about a hundred tasks has them once.
    let keys = asked.keys();
    let of_hooks = asked.of_hooks(&keys);
    let keys: Arc<[Known]> = keys.into();
    let mut asks = asked.resources();
    if asks.is_empty() {
        asks.push(Ask::new(action, About::Nothing));
    }
    for ask in &mut asks {
        ask.common = keys.clone();
    }
    asks.extend(of_hooks);
    asks
}

impl Asked<'_> {
    fn resources(&self) -> Vec<Ask> {
        let one = |arn: String| vec![self.ask(arn)];
        let each = |name: &str, arn: &dyn Fn(&str) -> String| {
            texts(self.input, name).into_iter().map(|given| self.ask(arn(given))).collect::<Vec<_>>()
        };
        match self.operation.name {
            "DescribeClusters" if texts(self.input, "clusters").is_empty() => one(self.cluster(None)),
            "DescribeClusters" => each("clusters", &|given| self.cluster(Some(given))),
            "DeleteCluster"
            | "UpdateCluster"
            | "UpdateClusterSettings"
            | "PutClusterCapacityProviders"
            | "RegisterContainerInstance"
            | "DeregisterContainerInstance"
            | "ListContainerInstances"
            | "ListAttributes"
            | "SubmitAttachmentStateChanges"
            | "SubmitContainerStateChange"
            | "SubmitTaskStateChange" => one(self.cluster(text(self.input, "cluster"))),
            "CreateService" => one(self.service(text(self.input, "serviceName"))),
            "UpdateService" | "DeleteService" | "UpdateServicePrimaryTaskSet" | "ListServiceDeployments" => {
                one(self.service(text(self.input, "service")))
            }
            "DescribeServices" => each("services", &|given| self.service(Some(given))),
            "DescribeServiceDeployments" => each("serviceDeploymentArns", &str::to_owned),
            "DescribeServiceRevisions" => each("serviceRevisionArns", &str::to_owned),
            "StopServiceDeployment" | "ContinueServiceDeployment" => {
                text(self.input, "serviceDeploymentArn").map(|arn| self.ask(arn)).into_iter().collect()
            }
            "CreateTaskSet" => one(self.task_set("*")),
            "UpdateTaskSet" | "DeleteTaskSet" => one(self.task_set(text(self.input, "taskSet").unwrap_or("*"))),
            "DescribeTaskSets" if texts(self.input, "taskSets").is_empty() => one(self.task_set("*")),
            "DescribeTaskSets" => each("taskSets", &|given| self.task_set(given)),
            "DescribeTasks" | "GetTaskProtection" | "UpdateTaskProtection" => each("tasks", &|given| self.task(given)),
            "StopTask" => text(self.input, "task").map(|task| self.ask(self.task(task))).into_iter().collect(),
            "ExecuteCommand" => {
                let task = text(self.input, "task").map(|task| self.ask(self.task(task)));
                one(self.cluster(text(self.input, "cluster"))).into_iter().chain(task).collect()
            }
            "DescribeContainerInstances" | "UpdateContainerInstancesState" => {
                each("containerInstances", &|given| self.instance(given))
            }
            "UpdateContainerAgent" => {
                text(self.input, "containerInstance").map(|id| self.ask(self.instance(id))).into_iter().collect()
            }
            "ListTasks" => {
                text(self.input, "containerInstance").map(|id| self.ask(self.instance(id))).into_iter().collect()
            }
            "PutAttributes" | "DeleteAttributes" => {
                let targets = items(self.input, "attributes").filter_map(|attribute| text(attribute, "targetId"));
                targets.map(|id| self.ask(self.instance(id))).collect()
            }
            "RunTask" | "StartTask" => one(self.definition(text(self.input, "taskDefinition").unwrap_or_default())),
            "RegisterTaskDefinition" => {
                one(self.arn(&format!("task-definition/{}:*", text(self.input, "family").unwrap_or_default())))
            }
            "DeleteTaskDefinitions" => each("taskDefinitions", &|given| self.definition(given)),
            "CreateCapacityProvider" | "UpdateCapacityProvider" => {
                one(self.provider(text(self.input, "name").unwrap_or_default()))
            }
            "DeleteCapacityProvider" => one(self.provider(text(self.input, "capacityProvider").unwrap_or_default())),
            "DescribeCapacityProviders" if texts(self.input, "capacityProviders").is_empty() => one(self.provider("*")),
            "DescribeCapacityProviders" => each("capacityProviders", &|given| self.provider(given)),
            "TagResource" | "UntagResource" | "ListTagsForResource" => {
                text(self.input, "resourceArn").map(|arn| self.ask(arn)).into_iter().collect()
            }
            // The rest AWS allows by `*` only.
            _ => Vec::new(),
        }
    }

    /// The tasks that lifecycle hooks run, each asked for as if the caller ran it: a condition on `ecs:task-definition` says of the
    /// service's own definition only, and a hook could name any other.
    fn of_hooks(&self, keys: &[Known]) -> Vec<Ask> {
        if !["CreateService", "UpdateService"].contains(&self.operation.name) {
            return Vec::new();
        }
        let hooks = self.input.get("deploymentConfiguration").map(|how| items(how, "lifecycleHooks"));
        let targets = hooks.into_iter().flatten().filter_map(|hook| text(hook, "hookTargetArn")?.parse().ok());
        let named: BTreeSet<_> = targets.map(|arn: TaskDefinitionArn| arn.to_string()).collect();
        let others = keys.iter().filter(|(key, _)| !["ecs:service", "ecs:task-definition"].contains(&key.as_str()));
        let common: Arc<[Known]> = others.cloned().collect();
        let ask = |arn: String| {
            let tags = self.tags(&arn);
            let ask = Ask::of("ecs:RunTask", &*arn).with("ecs:task-definition", &*arn).tagged(tags.as_ref());
            Ask { common: common.clone(), ..ask }
        };
        named.into_iter().map(ask).collect()
    }

    fn ask(&self, arn: impl Into<String>) -> Ask {
        let arn = arn.into();
        let tags = self.tags(&arn);
        Ask::of(self.action, arn).tagged(tags.as_ref())
    }

    fn arn(&self, rest: &str) -> String {
        let scope = &self.caller.scope;
        format!("arn:aws:ecs:{}:{}:{rest}", scope.region, scope.account)
    }

    fn cluster_arn(&self, given: Option<&str>) -> Option<ClusterArn> {
        resolve::cluster_arn(&self.caller.scope, given).ok()
    }

    /// What cannot be a cluster's name is refused later; until then it is called by what was given.
    fn cluster(&self, given: Option<&str>) -> String {
        let arn = self.cluster_arn(given).map(|arn| arn.to_string());
        arn.unwrap_or_else(|| raw(given.unwrap_or_default(), |name| self.arn(&format!("cluster/{name}"))))
    }

    fn own_cluster(&self) -> Option<ClusterArn> {
        self.cluster_arn(text(self.input, "cluster"))
    }

    fn service(&self, given: Option<&str>) -> String {
        let given = given.unwrap_or_default();
        let arn = self.own_cluster().and_then(|cluster| resolve::service_arn(&cluster, given).ok().flatten());
        arn.map_or_else(|| self.in_cluster("service", given), |arn| arn.to_string())
    }

    fn task(&self, given: &str) -> String {
        let arn = self.own_cluster().and_then(|cluster| resolve::task_arn(&cluster, given));
        arn.map_or_else(|| self.in_cluster("task", given), |arn| arn.to_string())
    }

    fn instance(&self, given: &str) -> String {
        let arn = self.own_cluster().and_then(|cluster| resolve::container_instance_arn(&cluster, given));
        arn.map_or_else(|| self.in_cluster("container-instance", given), |arn| arn.to_string())
    }

    fn task_set(&self, given: &str) -> String {
        let service = self.service(text(self.input, "service"));
        raw(given, |id| format!("{}/{id}", service.replacen(":service/", ":task-set/", 1)))
    }

    fn in_cluster(&self, kind: &str, given: &str) -> String {
        let cluster = self.cluster(text(self.input, "cluster"));
        let name = cluster.rsplit('/').next().unwrap_or_default().to_owned();
        raw(given, |id| self.arn(&format!("{kind}/{name}/{id}")))
    }

    /// A family alone means its latest revision.
    fn definition(&self, given: &str) -> String {
        let known = resolve::task_definition(self.snapshot, &self.caller.scope, given);
        known.map_or_else(|| raw(given, |name| self.arn(&format!("task-definition/{name}"))), |d| d.arn.to_string())
    }

    fn provider(&self, given: &str) -> String {
        raw(given, |name| self.arn(&format!("capacity-provider/{name}")))
    }

    /// What conditions may ask of operations of ECS.
    fn keys(&self) -> Vec<Known> {
        let has = |member: &str| self.operation.input.member(member).is_some();
        let mut keys = Vec::new();
        let mut set = |key: &str, values: Vec<String>| {
            if !values.is_empty() {
                keys.push((format!("ecs:{key}"), values));
            }
        };
        if has("cluster") {
            set("cluster", vec![self.cluster(text(self.input, "cluster"))]);
        }
        if has("service")
            && let Some(service) = text(self.input, "service")
        {
            set("service", vec![self.service(Some(service))]);
        }
        if let Some(definition) = text(self.input, "taskDefinition") {
            set("task-definition", vec![self.definition(definition)]);
        }
        if has("enableExecuteCommand") {
            let given = self.input.get("enableExecuteCommand").and_then(Value::as_bool);
            // A service that is changed keeps what it has.
            let known = given.or((self.operation.name != "UpdateService").then_some(false));
            set("enable-execute-command", known.map(|is| is.to_string()).into_iter().collect());
        }
        if let Some(container) = text(self.input, "container") {
            set("container-name", vec![container.to_owned()]);
        }
        let strategy = items(self.input, "capacityProviderStrategy");
        let providers = strategy.filter_map(|item| text(item, "capacityProvider")).map(|name| self.provider(name));
        set("capacity-provider", providers.collect());
        if self.operation.name == "StartTask" {
            let instances = texts(self.input, "containerInstances").into_iter().map(|given| self.instance(given));
            set("container-instances", instances.collect());
        }
        keys
    }

    /// The tags of what an ARN names.
    fn tags(&self, arn: &str) -> Option<Tags> {
        let snapshot = self.snapshot;
        let rest = arn.splitn(6, ':').nth(5)?;
        Some(match rest.split('/').next()? {
            "cluster" => snapshot.cluster(&arn.parse().ok()?)?.cluster.tags.clone(),
            "service" => snapshot.service(&arn.parse::<ServiceArn>().ok()?)?.service.tags.clone(),
            "task" => snapshot.task(&arn.parse::<TaskArn>().ok()?)?.tags.clone(),
            "container-instance" => {
                snapshot.instance(&arn.parse::<ContainerInstanceArn>().ok()?)?.instance.tags.clone()
            }
            "task-definition" => snapshot.task_definition(&arn.parse::<TaskDefinitionArn>().ok()?)?.tags.clone(),
            "task-set" => {
                let arn: TaskSetArn = arn.parse().ok()?;
                let service = snapshot.service(&arn.service)?;
                let sets = &service.service.external.as_ref()?.sets;
                sets.iter().find(|set| set.id == arn.id)?.tags.clone()
            }
            "capacity-provider" => {
                let name = rest.split_once('/')?.1;
                snapshot.capacity_provider(&self.caller.scope, name)?.tags.clone()
            }
            _ => return None,
        })
    }
}

/// What was given where it is an ARN already.
fn raw(given: &str, otherwise: impl FnOnce(&str) -> String) -> String {
    if given.starts_with("arn:") { given.to_owned() } else { otherwise(given) }
}
