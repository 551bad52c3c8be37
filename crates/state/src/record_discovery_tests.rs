//! One record of each part of service discovery.

use super::{cluster, scope, service_revision, tags};
use crate::record::{DiscoveryRecord, Record};
use model::{
    ClientAlias, ConnectPort, Creation, ServiceConnect, ServiceRegistry, Timestamp,
    discovery::{
        CustomHealth, DnsConfig, DnsRecord, Instance, InstanceId, Namespace, NamespaceId, NamespaceKind, Operation,
        OperationId, OperationKind, RecordKind, Routing, Service, ServiceId,
    },
    network::VpcId,
};
use std::sync::Arc;

/// One record of each part of service discovery, in the order of their kinds.
pub(super) fn examples() -> Vec<Record> {
    let creation = Creation { token: Some("t".into()), request_sha256: "aa55".into() };
    let (namespace, service, id) = (NamespaceId::of(1), ServiceId::of(2), InstanceId::parse("i-1/a").unwrap());
    let of = |kind, ttl| DnsRecord { kind, ttl };
    let parts: Vec<model::discovery::Record> = vec![
        Namespace {
            scope: scope(),
            id: namespace.clone(),
            name: "shop.local".into(),
            kind: NamespaceKind::PrivateDns { vpc: VpcId::of(3), soa_ttl: 15 },
            description: Some("what we sell".into()),
            created_at: Timestamp(1),
            creation: creation.clone(),
            operation: OperationId::of(4),
            tags: tags(),
        }
        .into(),
        Service {
            scope: scope(),
            id: service.clone(),
            namespace,
            name: "web".into(),
            description: Some("the front".into()),
            dns: Some(DnsConfig {
                routing: Routing::Multivalue,
                records: vec![of(RecordKind::A, 10), of(RecordKind::Srv, 20)],
            }),
            custom_health: true,
            created_at: Timestamp(2),
            creation: creation.clone(),
            tags: tags(),
            follows: None,
        }
        .into(),
        Instance {
            scope: scope(),
            service: service.clone(),
            id: id.clone(),
            attributes: [("AWS_INSTANCE_IPV4".to_owned(), "10.0.0.1".to_owned())].into(),
            health: Some(CustomHealth::Unhealthy),
            creation,
            operation: OperationId::of(5),
        }
        .into(),
        Operation {
            scope: scope(),
            id: OperationId::of(5),
            kind: OperationKind::RegisterInstance,
            namespace: None,
            service: Some(service),
            instance: Some(id),
            at: Timestamp(3),
        }
        .into(),
    ];
    let whole = Record::Discovery(DiscoveryRecord { scope: scope(), version: 4, changed_at: Timestamp(3) });
    [whole].into_iter().chain(parts.into_iter().map(Record::DiscoveryPart)).collect()
}

/// A revision that others find by Service Connect.
pub(super) fn connected_revision() -> Record {
    let Record::ServiceRevision(mut revision) = service_revision() else { unreachable!() };
    let port = |name: &str, aliases| ConnectPort {
        port_name: name.into(),
        port: 8080,
        discovery_name: "web".into(),
        service: ServiceId::of(2),
        aliases,
    };
    let alias = |dns_name| ClientAlias { port: 80, dns_name };
    let services =
        vec![port("http", vec![alias(Some("web.shop".into()))]), port("admin", vec![alias(None)]), port("x", vec![])];
    let connect = ServiceConnect { namespace: NamespaceId::of(1), services };
    Arc::make_mut(&mut Arc::make_mut(&mut revision).spec).connect = Some(Arc::new(connect));
    Record::ServiceRevision(revision)
}

/// A cluster that gives its services a namespace.
pub(super) fn connecting_cluster() -> Record {
    let Record::Cluster(mut cluster) = cluster() else { unreachable!() };
    Arc::make_mut(&mut cluster).connect_namespace = Some(NamespaceId::of(1));
    Record::Cluster(cluster)
}

/// A revision whose tasks are found by Cloud Map.
pub(super) fn found_revision() -> Record {
    let Record::ServiceRevision(mut revision) = service_revision() else { unreachable!() };
    let own = Arc::make_mut(&mut revision);
    let registry = |port, container| ServiceRegistry { service: ServiceId::of(2), port, container };
    Arc::make_mut(&mut own.spec).registries = vec![registry(Some(81), None), registry(None, Some(("web".into(), 80)))];
    Record::ServiceRevision(revision)
}
