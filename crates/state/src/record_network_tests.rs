//! One record of each part of a network.

use super::{instance, scope, service_revision, tags, task};
use crate::record::{NetworkRecord, Record};
use model::{
    Attachment, AttachmentState, AwsvpcConfiguration, ContainerInstance, Creation, RevisionSpec, ServiceRevision, Task,
    Timestamp,
    network::{
        Address, AddressAssociation, AddressAssociationId, AllocationId, Allowed, Direction, Interface, InterfaceId,
        InternetGateway, InternetGatewayId, NatGateway, NatGatewayId, Peer, Route, RouteAssociation,
        RouteAssociationId, RouteTable, RouteTableId, RouteTarget, Rule, RuleId, SecurityGroup, SecurityGroupId,
        Subnet, SubnetId, Traffic, Vpc, VpcId,
    },
};

/// One record of each part of a network, in the order of their kinds.
pub(super) fn examples() -> Vec<Record> {
    let creation = Creation { token: Some("t".into()), request_sha256: "aa55".into() };
    let (vpc, subnet) = (VpcId::of(1), SubnetId::of(2));
    let nat = RouteTarget::NatGateway(NatGatewayId::of(6));
    let rule = |n, allowed| Rule { id: RuleId::of(n), allowed, description: Some("why".into()), tags: tags() };
    let allowed = |direction, traffic, peer| Allowed { direction, traffic, peer };
    let from = allowed(Direction::Ingress, Traffic::Tcp(80, 81), Peer::Group(SecurityGroupId::of(9)));
    let to = allowed(Direction::Egress, Traffic::All, Peer::v4("0.0.0.0/0").unwrap());
    let ping = allowed(Direction::Ingress, Traffic::Icmpv6(128, -1), Peer::v6("2001:db8::/32").unwrap());
    let parts: Vec<model::network::Record> = vec![
        Vpc {
            scope: scope(),
            id: vpc.clone(),
            cidr: "10.0.0.0/16".parse().unwrap(),
            is_default: false,
            dns_support: true,
            dns_hostnames: false,
            usage_metrics: false,
            created_at: Timestamp(1),
            tags: tags(),
        }
        .into(),
        Subnet {
            scope: scope(),
            id: subnet.clone(),
            vpc: vpc.clone(),
            cidr: "10.0.1.0/24".parse().unwrap(),
            availability_zone: "eu-central-1a".into(),
            default_for_az: false,
            map_public_ip: true,
            tags: tags(),
        }
        .into(),
        RouteTable {
            scope: scope(),
            id: RouteTableId::of(3),
            vpc: vpc.clone(),
            routes: vec![
                Route {
                    destination: "0.0.0.0/0".parse().unwrap(),
                    target: RouteTarget::InternetGateway(InternetGatewayId::of(5)),
                },
                Route { destination: "192.168.0.0/16".parse().unwrap(), target: nat },
            ],
            associations: vec![
                RouteAssociation { id: RouteAssociationId::of(4), subnet: None },
                RouteAssociation { id: RouteAssociationId::of(5), subnet: Some(subnet.clone()) },
            ],
            creation: creation.clone(),
            tags: tags(),
        }
        .into(),
        InternetGateway { scope: scope(), id: InternetGatewayId::of(5), vpc: Some(vpc.clone()), tags: tags() }.into(),
        NatGateway {
            scope: scope(),
            id: NatGatewayId::of(6),
            vpc: vpc.clone(),
            subnet: subnet.clone(),
            interface: InterfaceId::of(10),
            allocation: Some(AllocationId::of(7)),
            created_at: Timestamp(2),
            creation: creation.clone(),
            tags: tags(),
        }
        .into(),
        Address {
            scope: scope(),
            id: AllocationId::of(7),
            public_ip: "198.51.100.7".parse().unwrap(),
            association: Some(AddressAssociation {
                id: AddressAssociationId::of(8),
                interface: InterfaceId::of(10),
                private_ip: "10.0.1.4".parse().unwrap(),
            }),
            tags: tags(),
        }
        .into(),
        SecurityGroup {
            scope: scope(),
            id: SecurityGroupId::of(9),
            vpc: vpc.clone(),
            name: "web".into(),
            description: "from everywhere".into(),
            rules: vec![rule(11, from), rule(12, to), rule(13, ping)],
            tags: tags(),
        }
        .into(),
        Interface {
            scope: scope(),
            id: InterfaceId::of(10),
            vpc,
            subnet,
            addresses: vec!["10.0.1.4".parse().unwrap()],
            mac: "02:00:00:00:00:0a".into(),
            groups: vec![SecurityGroupId::of(9)],
            description: "why".into(),
            source_dest_check: true,
            nat_gateway: Some(NatGatewayId::of(6)),
            task: None,
            creation,
            tags: tags(),
        }
        .into(),
    ];
    let head = Record::Network(NetworkRecord { scope: scope(), version: 3, changed_at: Timestamp(4) });
    [head].into_iter().chain(parts.into_iter().map(Record::NetworkPart)).collect()
}

pub(super) fn attached_task() -> Record {
    let Record::Task(task) = task() else { unreachable!("it is a task") };
    let attachment = Attachment {
        id: "f81d4fae-7dec-41d0-a765-00a0c91e6bf6".into(),
        interface: InterfaceId::of(0xe1),
        vpc: VpcId::of(0xa1),
        subnet: SubnetId::of(0xb1),
        address: [10, 0, 1, 12].into(),
        mac: "02:00:00:00:00:e1".into(),
        groups: vec![SecurityGroupId::of(0xc1)],
        public_ip: Some([198, 51, 100, 2].into()),
        state: AttachmentState::Detaching,
        lost: true,
    };
    let mut task = Task::clone(&task);
    task.reservation.interfaces = 1;
    task.attachment = Some(Box::new(attachment));
    Record::Task(task.into())
}

pub(super) fn attached_revision() -> Record {
    let Record::ServiceRevision(revision) = service_revision() else { unreachable!("it is a revision") };
    let network = AwsvpcConfiguration {
        subnets: vec![SubnetId::of(0xb1)],
        security_groups: vec![SecurityGroupId::of(0xc1)],
        assign_public_ip: true,
    };
    let mut revision = ServiceRevision::clone(&revision);
    let spec = RevisionSpec { network: Some(network.into()), ..RevisionSpec::clone(&revision.spec) };
    revision.spec = spec.into();
    Record::ServiceRevision(revision.into())
}

pub(super) fn encrypting_instance() -> Record {
    let Record::ContainerInstance(instance) = instance() else { unreachable!("it is an instance") };
    let mut instance = ContainerInstance::clone(&instance);
    instance.wireguard = model::WireguardKey::parse("yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=");
    assert!(instance.wireguard.is_some());
    Record::ContainerInstance(instance.into())
}

pub(super) fn roomy_instance() -> Record {
    let Record::ContainerInstance(instance) = instance() else { unreachable!("it is an instance") };
    let mut instance = ContainerInstance::clone(&instance);
    instance.registered.interfaces = 3;
    Record::ContainerInstance(instance.into())
}
