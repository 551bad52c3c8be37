//! Namespaces: made, described and deleted.

use super::{
    Edit, Key, Namespace, NamespaceId, NamespaceKind, OperationId, OperationKind, Refusal, service::is_dns_name,
};
use crate::{Creation, Tags, attachment::private_domain};

/// Namespaces of one scope. AWS gives 50 and more on request; these are still looked through without an index.
const MAX_NAMESPACES: usize = 1_000;
/// Source: the service model, `NamespaceNameHttp`.
const MAX_NAME: usize = 1_024;

/// A namespace to be made.
#[derive(Debug, Clone)]
#[allow(missing_docs)] // Those of the namespace.
pub struct NewNamespace {
    pub name: String,
    pub kind: NamespaceKind,
    pub description: Option<String>,
    pub creation: Creation,
    pub tags: Tags,
}

impl Edit<'_> {
    /// Makes a namespace. The same request again is answered with the operation that made it.
    pub fn create_namespace(&mut self, new: NewNamespace) -> Result<OperationId, Refusal> {
        let printable = new.name.bytes().all(|b| (b'!'..=b'~').contains(&b));
        let named = match new.kind {
            NamespaceKind::Http => (1..=MAX_NAME).contains(&new.name.len()),
            NamespaceKind::PrivateDns { .. } => is_dns_name(&new.name),
        };
        if !printable || !named || new.name.starts_with("arn:") {
            return Err(Refusal::Input(format!("{:?} is no name for a namespace of that type.", new.name)));
        }
        // What is not in a namespace whose name is asked for is looked for nowhere else.
        let own = private_domain(self.scope.region.as_str());
        if new.name.eq_ignore_ascii_case(&own) && matches!(new.kind, NamespaceKind::PrivateDns { .. }) {
            return Err(Refusal::Input(format!("{own} is the domain of a VPC's own names.")));
        }
        if let Some(known) = self.discovery.namespace_named(&new.name) {
            // AWS: without a token of the client's, nothing tells a request that comes again from another one.
            if known.creation.token.is_some() && known.creation == new.creation {
                return Ok(known.operation.clone());
            }
            let (id, creation) = (known.id.clone(), known.creation.clone());
            return Err(Refusal::NamespaceExists { name: new.name, id, creation });
        }
        if self.discovery.namespaces.len() >= MAX_NAMESPACES {
            return Err(Refusal::Limit("namespaces"));
        }
        let (id, operation) = (NamespaceId::of(self.number()), self.operation());
        let NewNamespace { name, kind, description, creation, tags } = new;
        self.put(Namespace {
            scope: self.scope.clone(),
            id: id.clone(),
            name,
            kind,
            description,
            created_at: self.at,
            creation,
            operation: operation.clone(),
            tags,
        });
        let operation = self.on_namespace(operation, OperationKind::CreateNamespace, id);
        Ok(self.done(operation))
    }

    /// Changes what a namespace says of itself; what is not given stays. `is_http` says for which kind it was asked.
    pub fn update_namespace(
        &mut self,
        id: &NamespaceId,
        is_http: bool,
        description: Option<String>,
        ttl: Option<u32>,
    ) -> Result<OperationId, Refusal> {
        let mut namespace = Namespace::clone(self.discovery.find_namespace(id)?);
        match &mut namespace.kind {
            NamespaceKind::Http if is_http => {}
            NamespaceKind::PrivateDns { soa_ttl, .. } if !is_http => *soa_ttl = ttl.unwrap_or(*soa_ttl),
            NamespaceKind::Http | NamespaceKind::PrivateDns { .. } => {
                return Err(Refusal::Input(format!("The namespace {id} is of another type.")));
            }
        }
        namespace.description = description.or(namespace.description);
        self.put(namespace);
        let operation = self.operation();
        let operation = self.on_namespace(operation, OperationKind::UpdateNamespace, id.clone());
        Ok(self.done(operation))
    }

    /// Deletes a namespace that has no services.
    pub fn delete_namespace(&mut self, id: &NamespaceId) -> Result<OperationId, Refusal> {
        self.discovery.find_namespace(id)?;
        if self.discovery.services_of(id).next().is_some() {
            return Err(Refusal::NamespaceInUse(id.clone()));
        }
        self.remove(Key::Namespace(id.clone()));
        let operation = self.operation();
        let operation = self.on_namespace(operation, OperationKind::DeleteNamespace, id.clone());
        Ok(self.done(operation))
    }
}
