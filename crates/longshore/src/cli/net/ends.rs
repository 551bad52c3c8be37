//! Who is meant: a task, an interface, an instance, an address, a service, or the internet.

use super::{
    super::config::Settings,
    fetch::{self, World},
};
use crate::advice::Advice;
use anyhow::{Error, Result, anyhow, bail};
use model::network::{
    InterfaceId, VpcId,
    reach::{Holder, Sender},
};
use shapes::ecs;
use std::net::Ipv4Addr;

/// Who stands for everybody on the internet: an address that is nobody's. Source: RFC 5737.
pub(super) const ANYBODY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// So many are named where several are meant.
const NAMED: usize = 5;

/// One end of a connection.
#[derive(Debug, Clone)]
pub(super) struct End {
    /// For people.
    pub(super) words: String,
    pub(super) place: Place,
}

#[derive(Debug, Clone)]
pub(super) enum Place {
    /// An interface's own address; `asked` if it was named by an address and is to be found by that.
    Interface {
        id: InterfaceId,
        private: Ipv4Addr,
        asked: Option<Ipv4Addr>,
    },
    Outside(Ipv4Addr),
}

impl End {
    pub(super) fn as_sender(&self) -> Sender {
        match &self.place {
            Place::Interface { id, private, .. } => Sender::Interface(id.clone(), *private),
            Place::Outside(address) => Sender::Outside(*address),
        }
    }

    /// By which address a sender finds it.
    pub(super) fn address_from(&self, world: &World, sender: &Sender) -> Ipv4Addr {
        match &self.place {
            Place::Interface { asked: Some(address), .. } | Place::Outside(address) => *address,
            Place::Interface { id, private, asked: None } => world.network.address_for(sender, id).unwrap_or(*private),
        }
    }

    pub(super) fn interface(&self) -> Option<&InterfaceId> {
        match &self.place {
            Place::Interface { id, .. } => Some(id),
            Place::Outside(_) => None,
        }
    }

    pub(super) fn vpc(&self, world: &World) -> Option<VpcId> {
        self.interface().and_then(|id| world.network.interface(id)).map(|interface| interface.vpc.clone())
    }
}

/// Finds out both. Where both are meant by one service, they are two of its tasks, since what a task says to itself passes no
/// rule; of a service that has only one, that is said.
pub(super) async fn both(settings: &Settings, world: &World, sender: &str, receiver: &str) -> Result<(End, End)> {
    let Some(service) = sender.strip_prefix("service/").filter(|_| sender == receiver) else {
        return Ok((find(settings, world, sender).await?, find(settings, world, receiver).await?));
    };
    let tasks = tasks_of(world, service)?;
    let [one, other, ..] = tasks.as_slice() else {
        return Err(anyhow!(
            "service {service} has only one task that is to run, and what that says to itself is not filtered"
        )
        .context(Advice::new(format!(
            "Ask again when it has two: aws ecs update-service --service {service} --desired-count 2"
        ))));
    };
    Ok((of_task(settings, world, one).await?, of_task(settings, world, other).await?))
}

/// Finds out.
async fn find(settings: &Settings, world: &World, text: &str) -> Result<End> {
    if text == "internet" {
        return Ok(End { words: "the internet".to_owned(), place: Place::Outside(ANYBODY) });
    }
    if let Ok(address) = text.parse() {
        return by_address(world, address);
    }
    if let Some(service) = text.strip_prefix("service/") {
        return of_service(settings, world, service).await;
    }
    if text.starts_with(InterfaceId::PREFIX) {
        return by_interface(world, &InterfaceId::parse(text)?);
    }
    if text.starts_with("i-") {
        return of_machine(world, text);
    }
    if text.contains(':') && !text.starts_with("arn:") {
        bail!("'{text}' is nobody; networks have IPv4 addresses only, and only B has a port");
    }
    let wanted = text.rsplit('/').next().unwrap_or(text);
    let mut found = world.tasks.keys().filter(|id| !wanted.is_empty() && id.starts_with(wanted));
    match (found.next(), found.next()) {
        (Some(id), None) => of_task(settings, world, id).await,
        (Some(_), Some(_)) => bail!("several tasks have an id that begins with {wanted}; name more of it"),
        (None, _) => Err(nobody(format!("no task that is to run has the id {wanted}"))),
    }
}

fn nobody(text: String) -> Error {
    anyhow!(text)
        .context(Advice::new("`longshore net` lists the interfaces and whose they are, `longshore ps` the tasks"))
}

fn by_address(world: &World, address: Ipv4Addr) -> Result<End> {
    // Where it leads is drawn for each connection, and what decides is the task's own address and port.
    if network::vpc::rules::ALIASES.contains(&address) {
        let advice = "Ask for the service behind the name and for its tasks' own port: service/NAME:PORT";
        return Err(anyhow!("{address} is what a name of Service Connect leads to, and nobody's own")
            .context(Advice::new(advice)));
    }
    let holders = world.network.holders(address);
    let several = |holders: &[Holder]| {
        let names = holders.iter().map(|holder| holder.interface.to_string());
        anyhow!("several interfaces have the address {address}: {}", names.collect::<Vec<_>>().join(", "))
            .context(Advice::new("Name the one that is meant by its id"))
    };
    match holders.as_slice() {
        [] => Ok(End { words: address.to_string(), place: Place::Outside(address) }),
        [holder] => {
            let mut end = by_interface(world, &holder.interface)?;
            end.place =
                Place::Interface { id: holder.interface.clone(), private: holder.private, asked: Some(address) };
            Ok(end)
        }
        holders => Err(several(holders)),
    }
}

fn by_interface(world: &World, id: &InterfaceId) -> Result<End> {
    let found = world.network.interface(id);
    let found = found.ok_or_else(|| nobody(format!("there is no interface {id}")))?;
    let whose = match (world.task_of(id), world.shown(id).and_then(fetch::machine), &found.nat_gateway) {
        (Some((task, _)), _, _) => Some(task_words(world, task)),
        (None, Some(machine), _) => Some(format!("instance {machine}")),
        (None, None, Some(gateway)) => Some(format!("NAT gateway {gateway}")),
        (None, None, None) => None,
    };
    let private = found.addresses.first().copied().unwrap_or(Ipv4Addr::UNSPECIFIED);
    let words = whose.map_or_else(|| id.to_string(), |whose| format!("{whose} ({id})"));
    Ok(End { words, place: Place::Interface { id: id.clone(), private, asked: None } })
}

fn task_words(world: &World, id: &str) -> String {
    let service = world.tasks.get(id).and_then(|task| task.service());
    service.map_or_else(|| format!("task {id}"), |service| format!("task {id} of service {service}"))
}

fn of_machine(world: &World, machine: &str) -> Result<End> {
    let found = world.seen.interfaces.iter().find(|shown| fetch::machine(shown) == Some(machine));
    let id = found.and_then(|shown| shown.network_interface_id.as_deref());
    let id = id.ok_or_else(|| nobody(format!("there is no instance {machine} in this network")))?;
    by_interface(world, &InterfaceId::parse(id)?)
}

/// A task is found at its own interface, or else at its instance's.
async fn of_task(settings: &Settings, world: &World, id: &str) -> Result<End> {
    let task = &world.tasks[id];
    if let Some(interface) = &task.interface {
        return by_interface(world, interface);
    }
    let request = ecs::DescribeContainerInstancesRequest {
        cluster: Some(task.cluster.clone()),
        container_instances: task.container_instance.clone().map(|arn| vec![arn]),
        ..Default::default()
    };
    let instances = settings.client.call(&request).await?.container_instances;
    let machine = instances.into_iter().flatten().find_map(|instance| instance.ec2_instance_id);
    let own = machine.as_deref().filter(|machine| machine.starts_with("i-"));
    let machine = own.ok_or_else(|| {
        anyhow!("task {id} has no interface of its own, and its machine's network is not one of EC2's")
            .context(Advice::new("Only tasks of network mode awsvpc and local instances are in a VPC; see docs/vpc.md"))
    })?;
    let mut end = of_machine(world, machine)?;
    end.words = format!("{} on {}", task_words(world, id), end.words);
    Ok(end)
}

/// Any task of a service; one with an interface if there is one.
async fn of_service(settings: &Settings, world: &World, name: &str) -> Result<End> {
    of_task(settings, world, tasks_of(world, name)?[0]).await
}

/// The tasks of a service that are to run, at least one; those with an interface first.
pub(super) fn tasks_of<'a>(world: &'a World, name: &str) -> Result<Vec<&'a str>> {
    let mut tasks: Vec<_> = world.tasks.iter().filter(|(_, task)| task.service() == Some(name)).collect();
    let mut clusters: Vec<_> = tasks.iter().map(|(_, task)| task.cluster.as_str()).collect();
    clusters.sort_unstable();
    clusters.dedup();
    if clusters.len() > 1 {
        clusters.truncate(NAMED);
        bail!(
            "services of that name have tasks in several clusters; choose one with --cluster: {}",
            clusters.join(", ")
        );
    }
    if tasks.is_empty() {
        return Err(nobody(format!("no task of a service {name} is to run")));
    }
    tasks.sort_by_key(|(id, task)| (task.interface.is_none(), *id));
    Ok(tasks.into_iter().map(|(id, _)| id.as_str()).collect())
}
