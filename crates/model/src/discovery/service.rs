//! Services: names in a namespace.

use super::{
    DnsConfig, DnsRecord, Edit, Key, NamespaceId, NamespaceKind, Operation, OperationId, OperationKind, Refusal,
    Service, ServiceId,
};
use crate::{Creation, Tags};
use std::sync::Arc;

/// Services of one scope. AWS names no bound; this is as many as a region has room for in ECS, and they are looked through
/// without an index.
const MAX_SERVICES: usize = 10_000;
/// Source: the service model, `ServiceName`.
const MAX_NAME: usize = 127;
/// Source: RFC 1035.
const MAX_LABEL: usize = 63;
/// Source: RFC 1035, without the dot at the end, as the service model has it.
const MAX_DNS_NAME: usize = 253;

/// A service to be made.
#[derive(Debug, Clone)]
#[allow(missing_docs)] // Those of the service.
pub struct NewService {
    pub namespace: NamespaceId,
    pub name: String,
    pub description: Option<String>,
    pub dns: Option<DnsConfig>,
    /// Whether it is said that nobody but DiscoverInstances shall know it.
    pub http_only: bool,
    pub custom_health: bool,
    pub creation: Creation,
    pub tags: Tags,
}

/// A name that a resolver can be asked for.
pub(super) fn is_dns_name(name: &str) -> bool {
    let printable = |b: u8| (b'!'..=b'~').contains(&b);
    (1..=MAX_DNS_NAME).contains(&name.len())
        && name.split('.').all(|label| (1..=MAX_LABEL).contains(&label.len()) && label.bytes().all(printable))
}

/// Labels of letters, digits, hyphens and underscores that neither begin nor end with a hyphen.
fn is_service_name(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let label = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len())
            && label.bytes().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= MAX_NAME && name.split('.').all(label)
}

fn check_records(records: &[DnsRecord]) -> Result<(), Refusal> {
    let mut kinds: Vec<_> = records.iter().map(|record| record.kind).collect();
    kinds.sort_unstable();
    if kinds.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Refusal::Input("DnsRecords holds a type twice.".to_owned()));
    }
    Ok(())
}

impl Edit<'_> {
    /// Makes a service. The same request again is answered with what it made.
    pub fn create_service(&mut self, new: NewService) -> Result<Arc<Service>, Refusal> {
        let namespace = self.discovery.find_namespace(&new.namespace)?.clone();
        if !is_service_name(&new.name) {
            return Err(Refusal::Input(format!("{:?} is no name for a service.", new.name)));
        }
        let dns = match (&namespace.kind, &new.dns) {
            (NamespaceKind::Http, Some(_)) => Some("An HTTP namespace has no DNS records: remove DnsConfig."),
            (NamespaceKind::PrivateDns { .. }, Some(_)) if new.http_only => {
                Some("A service of type HTTP has no DNS records: remove DnsConfig.")
            }
            (NamespaceKind::PrivateDns { .. }, Some(dns)) if dns.records.is_empty() => {
                Some("DnsRecords must not be empty.")
            }
            (NamespaceKind::PrivateDns { .. }, None) if !new.http_only => {
                Some("A service in a DNS namespace needs DnsConfig, or the type HTTP.")
            }
            (NamespaceKind::Http | NamespaceKind::PrivateDns { .. }, Some(_) | None) => None,
        };
        if let Some(why) = dns {
            return Err(Refusal::Input(why.to_owned()));
        }
        check_records(new.dns.as_ref().map_or(&[], |dns| &dns.records))?;
        if new.dns.is_some() && !is_dns_name(&format!("{}.{}", new.name, namespace.name)) {
            return Err(Refusal::Input("The names of service and namespace are too long together.".to_owned()));
        }
        // AWS: names that differ in case only are one to DNS; in HTTP namespaces they are two.
        let is_http = matches!(namespace.kind, NamespaceKind::Http);
        let same = |name: &str| if is_http { name == new.name } else { name.eq_ignore_ascii_case(&new.name) };
        if let Some(known) = self.discovery.services_of(&namespace.id).find(|known| same(&known.name)) {
            if known.creation.token.is_some() && known.creation == new.creation {
                return Ok(known.clone());
            }
            let (id, creation) = (known.id.clone(), known.creation.clone());
            return Err(Refusal::ServiceExists { name: new.name, id, creation });
        }
        if self.discovery.services.len() >= MAX_SERVICES {
            return Err(Refusal::Limit("services"));
        }
        let service = Service {
            scope: self.scope.clone(),
            id: ServiceId::of(self.number()),
            namespace: new.namespace,
            name: new.name,
            description: new.description,
            dns: new.dns,
            custom_health: new.custom_health,
            created_at: self.at,
            creation: new.creation,
            tags: new.tags,
            follows: None,
        };
        self.put(service.clone());
        Ok(Arc::new(service))
    }

    /// Changes what a service says of itself and the TTLs of its records; what is not given stays, but a list of records is
    /// the whole list.
    pub fn update_service(
        &mut self,
        id: &ServiceId,
        description: Option<String>,
        records: Option<Vec<DnsRecord>>,
    ) -> Result<OperationId, Refusal> {
        let mut service = Service::clone(self.stored_service(id)?);
        service.description = description.or(service.description);
        if let Some(records) = records {
            check_records(&records)?;
            let Some(dns) = service.dns.as_mut() else {
                return Err(Refusal::Input(format!("The service {id} has no DNS records.")));
            };
            // AWS: a record's TTL can be changed and a record left out; none can be added.
            if records.is_empty() || records.iter().any(|one| !dns.records.iter().any(|known| known.kind == one.kind)) {
                return Err(Refusal::Input("DnsRecords must be of the types that the service has.".to_owned()));
            }
            dns.records = records;
        }
        self.put(service);
        let operation = Operation {
            scope: self.scope.clone(),
            id: self.operation(),
            kind: OperationKind::UpdateService,
            namespace: None,
            service: Some(id.clone()),
            instance: None,
            at: self.at,
        };
        Ok(self.done(operation))
    }

    /// Deletes a service that has no instances; `has_tasks` says whether tasks are found under its name.
    pub fn delete_service(&mut self, id: &ServiceId, has_tasks: bool) -> Result<(), Refusal> {
        if let Some(owner) = &self.discovery.find_service(id)?.follows {
            return Err(Refusal::InUse(format!(
                "The service {id} is in use by {owner}: delete that service, or disable its Service Connect."
            )));
        }
        if has_tasks || self.discovery.instances_of(id).next().is_some() {
            return Err(Refusal::ServiceInUse(id.clone()));
        }
        self.remove(Key::Service(id.clone()));
        Ok(())
    }
}
