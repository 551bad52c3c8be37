//! RegisterContainerInstance: the way in for agents that are not ours. Our own register over the link.
//!
//! The identity document is information, not proof: its signature cannot be checked outside of AWS. What proves the
//! caller is its request's own signature.

use super::{container_instances, gpus, resolve, tags};
use crate::{
    api::{
        ApiError,
        honoured::{Row, row},
    },
    context::{Caller, Context},
};
use model::{
    AgentInfo, Attribute, Attributes, Cluster, ClusterArn, ClusterStatus, ContainerInstance, ContainerInstanceArn,
    ContainerInstanceId, CpuUnits, InstanceStatus, MemoryMib, Port, Protocol, Resources,
};
use serde::Deserialize;
use shapes::ecs as aws;
use state::{Command, CommitError, Rejected};
use std::collections::BTreeMap;

pub(crate) const HONOURED: &[Row] = &[row(
    "RegisterContainerInstance",
    &[
        "attributes.*",
        "cluster",
        "containerInstanceArn",
        "instanceIdentityDocument",
        "instanceIdentityDocumentSignature",
        "platformDevices.*",
        "tags.*",
        "totalResources.*",
        "versionInfo.*",
    ],
)];

/// What we read of EC2's instance identity document. Source: "Instance identity documents" in the EC2 user guide.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Document {
    instance_id: Option<String>,
    availability_zone: Option<String>,
    instance_type: Option<String>,
    image_id: Option<String>,
    architecture: Option<String>,
}

pub(crate) async fn register(
    ctx: &Context,
    caller: &Caller,
    request: aws::RegisterContainerInstanceRequest,
) -> Result<aws::RegisterContainerInstanceResponse, ApiError> {
    let cluster = resolve::cluster_arn(&caller.scope, request.cluster.as_deref())?;
    let document = document(request.instance_identity_document.as_deref())?;
    let arn = match request.container_instance_arn.filter(|arn| !arn.is_empty()) {
        // The agent knows who it was. An instance of another cluster cannot come back as one of this.
        Some(known) => resolve::container_instance_arn(&cluster, &known)
            .ok_or_else(|| ApiError::invalid("The container instance ARN is not one of this cluster."))?,
        None => {
            let id = ContainerInstanceId::parse(ctx.effects.hex32()).expect("32 hexadecimal digits");
            ContainerInstanceArn { cluster: cluster.clone(), id }
        }
    };
    let snapshot = ctx.store.snapshot();
    let known = snapshot.instance(&arn).filter(|row| row.is_registered());
    if known.is_some_and(|row| row.instance.agent.hash.starts_with(crate::AGENT_HASH)) {
        // What is known of it its own agent says, whom a certificate proves.
        return Err(ApiError::client(
            "The container instance has an agent of this server's, which alone may register it.",
        ));
    }
    let mut registered = resources(&request.total_resources.unwrap_or_default())?;
    let devices = request.platform_devices.iter().flatten().filter(|device| device.r#type.as_deref() == Some("GPU"));
    registered.gpus.extend(gpus::ids(devices.filter_map(|device| device.id.as_ref()))?);
    let version = request.version_info.unwrap_or_default();
    let now = ctx.effects.now();
    let instance = ContainerInstance {
        arn,
        status: InstanceStatus::Active,
        version: 1,
        ec2_instance_id: document.instance_id.clone(),
        registered,
        attributes: attributes(caller, request.attributes.unwrap_or_default(), &document)?,
        agent: AgentInfo {
            version: version.agent_version.unwrap_or_default(),
            // A foreign agent must not pass for ours, whose sessions say whether they are connected.
            hash: version.agent_hash.filter(|h| !h.starts_with(crate::AGENT_HASH)).unwrap_or_default(),
            runtime: version.docker_version.unwrap_or_default(),
        },
        agent_connected: true,
        agent_changed_at: now,
        address: None,
        wireguard: None,
        registered_at: now,
        reclaimed_at: None,
        tags: tags::parse(request.tags)?,
    };
    let command = Command::RegisterContainerInstance { instance };
    let committed = match ctx.store.commit(command.clone()).await {
        Err(CommitError::Rejected(Rejected::ClusterNotFound(arn) | Rejected::ClusterInactive(arn)))
            if arn.name.as_str() == resolve::DEFAULT_CLUSTER =>
        {
            make_default(ctx, arn).await?;
            ctx.store.commit(command).await?
        }
        other => other?,
    };
    let container_instance = Some(container_instances::answer(&committed)?);
    Ok(aws::RegisterContainerInstanceResponse { container_instance })
}

/// The default cluster comes to be when it is first needed.
async fn make_default(ctx: &Context, arn: ClusterArn) -> Result<(), ApiError> {
    let cluster = Cluster {
        arn,
        status: ClusterStatus::Active,
        settings: BTreeMap::new(),
        connect_namespace: None,
        exec_logging: None,
        capacity_providers: Vec::new(),
        default_capacity_provider_strategy: model::CapacityProviderStrategy::default(),
        tags: model::Tags::default(),
        created_at: ctx.effects.now(),
    };
    ctx.store.commit(Command::CreateCluster(cluster)).await?;
    Ok(())
}

fn document(text: Option<&str>) -> Result<Document, ApiError> {
    match text.filter(|text| !text.is_empty()) {
        None => Ok(Document::default()),
        Some(text) => serde_json::from_str(text)
            .map_err(|_| ApiError::client("The instance identity document could not be parsed.")),
    }
}

/// The agent's attributes, all of them as they came: it checks that. What it leaves out is taken from the document.
fn attributes(caller: &Caller, given: Vec<aws::Attribute>, document: &Document) -> Result<Attributes, ApiError> {
    let mut all = Attributes::new();
    for attribute in given {
        let attribute = Attribute { name: attribute.name.unwrap_or_default(), value: attribute.value };
        attribute.check().map_err(ApiError::invalid)?;
        all.insert(attribute.name, attribute.value);
    }
    let zone = document.availability_zone.clone().unwrap_or_else(|| format!("{}a", caller.scope.region));
    let derived = [
        ("ecs.availability-zone", Some(zone)),
        ("ecs.instance-type", document.instance_type.clone()),
        ("ecs.ami-id", document.image_id.clone()),
        ("ecs.cpu-architecture", document.architecture.clone()),
        ("ecs.os-type", Some("linux".to_owned())),
    ];
    for (name, value) in derived {
        if value.is_some() {
            all.entry(name.to_owned()).or_insert(value);
        }
    }
    Ok(all)
}

fn resources(given: &[aws::Resource]) -> Result<Resources, ApiError> {
    let mut all = Resources::default();
    for resource in given {
        let name = resource.name.as_deref().unwrap_or_default();
        let invalid = || ApiError::invalid(format!("Invalid resource {name}."));
        let whole = || {
            let value = resource.integer_value.map(i64::from).or(resource.long_value).unwrap_or_default();
            u32::try_from(value).map_err(|_| invalid())
        };
        let ports = |protocol| {
            let ports = resource.string_set_value.iter().flatten();
            ports.map(move |port| Some(Port { protocol, number: port.parse().ok()? }))
        };
        match name {
            "CPU" => all.cpu = CpuUnits(whole()?),
            "MEMORY" => all.memory = MemoryMib(whole()?),
            "GPU" => all.gpus.extend(gpus::ids(resource.string_set_value.iter().flatten())?),
            "PORTS" => all.ports.extend(ports(Protocol::Tcp).collect::<Option<Vec<_>>>().ok_or_else(invalid)?),
            "PORTS_UDP" => all.ports.extend(ports(Protocol::Udp).collect::<Option<Vec<_>>>().ok_or_else(invalid)?),
            // AWS knows more, such as NEURON_CORES, that no task here can ask for.
            _ => {}
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_read_as_agents_write_them() {
        let number = |name: &str, value| aws::Resource {
            name: Some(name.to_owned()),
            r#type: Some("INTEGER".to_owned()),
            integer_value: Some(value),
            ..aws::Resource::default()
        };
        let ports = |name: &str, ports: &[&str]| aws::Resource {
            name: Some(name.to_owned()),
            r#type: Some("STRINGSET".to_owned()),
            string_set_value: Some(ports.iter().map(|&p| p.to_owned()).collect()),
            ..aws::Resource::default()
        };
        let all = [
            number("CPU", 2048),
            number("MEMORY", 24041),
            ports("PORTS", &["22", "51678"]),
            ports("PORTS_UDP", &["53"]),
            ports("GPU", &["GPU-1", "GPU-0"]),
        ];
        let read = resources(&all).unwrap();
        assert_eq!((read.cpu.0, read.memory.0, read.ports.len()), (2048, 24041, 3));
        assert!(read.ports.contains(&Port { protocol: Protocol::Udp, number: 53 }));
        assert_eq!(read.gpus.iter().map(model::GpuId::as_str).collect::<Vec<_>>(), ["GPU-0", "GPU-1"]);
        assert!(resources(&[ports("GPU", &["a,b"])]).is_err());
        assert!(resources(&[number("CPU", -1)]).is_err());
        assert!(resources(&[ports("PORTS", &["ssh"])]).is_err());
    }
}
