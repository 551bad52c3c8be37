//! Instances that clients register, and how they say those are.

use super::{
    CustomHealth, Edit, Instance, InstanceId, Key, Operation, OperationId, OperationKind, RecordKind, Refusal, Service,
    ServiceId, attribute, port_in,
};
use crate::Creation;
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr},
};

/// Instances of one service. Source: the quota "Instances per service".
const MAX_INSTANCES: usize = 1_000;
/// Source: the quota "Custom attributes per instance", and the attributes that mean something by themselves.
const MAX_ATTRIBUTES: usize = 36;
/// Source: the service model, `AttrKey`, `AttrValue`.
const MAX_KEY: usize = 255;
const MAX_VALUE: usize = 1_024;
/// Bytes of all keys and values. Source: `RegisterInstanceRequest$Attributes`.
const MAX_TOGETHER: usize = 5_000;

/// An instance to be registered.
#[derive(Debug, Clone)]
#[allow(missing_docs)] // Those of the instance.
pub struct NewInstance {
    pub service: ServiceId,
    pub id: InstanceId,
    pub attributes: BTreeMap<String, String>,
    pub creation: Creation,
}

fn check_sizes(attributes: &BTreeMap<String, String>) -> Result<(), Refusal> {
    let sizes = attributes.iter().map(|(key, value)| (key.len(), value.len()));
    let all: usize = sizes.clone().map(|(key, value)| key + value).sum();
    let long = sizes.clone().any(|(key, value)| key == 0 || key > MAX_KEY || value > MAX_VALUE);
    if long || all > MAX_TOGETHER || attributes.len() > MAX_ATTRIBUTES {
        return Err(Refusal::Input("Attributes are too many or too long.".to_owned()));
    }
    Ok(())
}

/// What the attributes must be for such a service, and how the instance begins.
fn check(service: &Service, attributes: &BTreeMap<String, String>) -> Result<Option<CustomHealth>, Refusal> {
    check_sizes(attributes)?;
    let wrong = |key: &str| Refusal::Input(format!("The value of attribute {key} is not valid."));
    let missing = |key: &str| Refusal::Input(format!("Attribute {key} is required by the service's DNS records."));
    for key in [attribute::ALIAS, attribute::EC2_INSTANCE] {
        if attributes.contains_key(key) {
            let text = format!("Longshore does not honour attribute {key} yet; remove it or see docs/coverage.md.");
            return Err(Refusal::Input(text));
        }
    }
    let given = |key: &str| attributes.get(key);
    if given(attribute::IPV4).is_some_and(|text| text.parse::<Ipv4Addr>().is_err()) {
        return Err(wrong(attribute::IPV4));
    }
    if given(attribute::IPV6).is_some_and(|text| text.parse::<Ipv6Addr>().is_err()) {
        return Err(wrong(attribute::IPV6));
    }
    if given(attribute::PORT).is_some() && port_in(attributes).is_none() {
        return Err(wrong(attribute::PORT));
    }
    for (kind, key) in [(RecordKind::A, attribute::IPV4), (RecordKind::Srv, attribute::PORT)] {
        if service.record(kind).is_some() && given(key).is_none() {
            return Err(missing(key));
        }
    }
    match (given(attribute::INIT_HEALTH).map(String::as_str), service.custom_health) {
        (None, false) => Ok(None),
        (None | Some("HEALTHY"), true) => Ok(Some(CustomHealth::Healthy)),
        (Some("UNHEALTHY"), true) => Ok(Some(CustomHealth::Unhealthy)),
        (Some(_), true) => Err(wrong(attribute::INIT_HEALTH)),
        (Some(_), false) => {
            Err(Refusal::Input(format!("{} needs a service with a custom health check.", attribute::INIT_HEALTH)))
        }
    }
}

impl Edit<'_> {
    /// Registers an instance, or changes one that is registered. The same request again is answered with the operation it was.
    pub fn register_instance(&mut self, new: NewInstance) -> Result<OperationId, Refusal> {
        let service = self.stored_service(&new.service)?;
        let begins = check(service, &new.attributes)?;
        let known = self.discovery.instance(&new.service, &new.id);
        if let Some(known) = known.filter(|known| known.creation.token.is_some()) {
            if known.creation == new.creation {
                return Ok(known.operation.clone());
            }
            if known.creation.token == new.creation.token {
                return Err(Refusal::Duplicate(known.operation.clone()));
            }
        }
        if known.is_none() && self.discovery.instances_of(&new.service).count() >= MAX_INSTANCES {
            return Err(Refusal::Limit("instances"));
        }
        let operation = self.operation();
        let NewInstance { service, id, attributes, creation } = new;
        let instance = Instance {
            scope: self.scope.clone(),
            service: service.clone(),
            id: id.clone(),
            attributes,
            health: begins,
            creation,
            operation: operation.clone(),
        };
        self.put(instance);
        Ok(self.done_with(operation, OperationKind::RegisterInstance, service, id))
    }

    /// Removes an instance.
    pub fn deregister_instance(&mut self, service: &ServiceId, id: &InstanceId) -> Result<OperationId, Refusal> {
        self.registered(service, id)?;
        self.remove(Key::Instance(service.clone(), id.clone()));
        let operation = self.operation();
        Ok(self.done_with(operation, OperationKind::DeregisterInstance, service.clone(), id.clone()))
    }

    /// Says how an instance is.
    pub fn set_health(&mut self, service: &ServiceId, id: &InstanceId, health: CustomHealth) -> Result<(), Refusal> {
        let asks = self.discovery.find_service(service)?.custom_health;
        let known = self.registered(service, id)?;
        if !asks {
            return Err(Refusal::NoCustomHealth(service.clone()));
        }
        if known.health != Some(health) {
            self.put(Instance { health: Some(health), ..known });
        }
        Ok(())
    }

    fn registered(&self, service: &ServiceId, id: &InstanceId) -> Result<Instance, Refusal> {
        self.discovery.find_service(service)?;
        let known = self.discovery.instance(service, id);
        known.map(|known| Instance::clone(known)).ok_or_else(|| Refusal::InstanceNotFound(id.clone(), service.clone()))
    }

    fn done_with(&mut self, id: OperationId, kind: OperationKind, service: ServiceId, of: InstanceId) -> OperationId {
        self.done(Operation {
            scope: self.scope.clone(),
            id,
            kind,
            namespace: None,
            service: Some(service),
            instance: Some(of),
            at: self.at,
        })
    }
}
