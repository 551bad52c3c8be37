//! The stored forms that capacity providers, Spot and Fargate's disks have added.

use super::{cluster, definition, instance, network, service, service_revision};
use crate::record::Record;
use model::{
    CapacityProvider, CapacityProviderStrategy, CapacityProviderStrategyItem, CpuArchitecture, Desired, EfsVolume,
    Filesystem, GpuId, LaunchType, ManagedVolume, Phase, Platform, PlatformVersion, RevisionSpec, Stop, Timestamp,
    Volume, VolumeConfiguration, VolumeSource, VolumeType,
};

/// One for sure on FARGATE, of the others four of five on FARGATE_SPOT.
fn shares() -> CapacityProviderStrategy {
    let item = |provider, base, weight| CapacityProviderStrategyItem { provider, base, weight };
    let items = vec![item(CapacityProvider::Fargate, 1, 1), item(CapacityProvider::FargateSpot, 0, 4)];
    CapacityProviderStrategy::new(items).unwrap()
}

fn gpus() -> std::collections::BTreeSet<GpuId> {
    ["GPU-0", "GPU-1"].map(|id| GpuId::parse(id).unwrap()).into()
}

pub(super) fn accelerated_instance() -> Record {
    let Record::ContainerInstance(mut instance) = instance() else { unreachable!() };
    std::sync::Arc::make_mut(&mut instance).registered.gpus = gpus();
    Record::ContainerInstance(instance)
}

pub(super) fn accelerated_definition() -> Record {
    let Record::TaskDefinition(mut definition) = definition() else { unreachable!() };
    let own = std::sync::Arc::make_mut(&mut definition);
    std::sync::Arc::make_mut(&mut own.spec).containers[0].gpus = 1;
    Record::TaskDefinition(definition)
}

pub(super) fn accelerated_task() -> Record {
    let Record::Task(mut task) = super::task() else { unreachable!() };
    let own = std::sync::Arc::make_mut(&mut task);
    own.overrides.containers[0].gpus = Some(2);
    (own.reservation.gpus, own.reservation.gpu_ids) = (2, gpus());
    Record::Task(task)
}

pub(super) fn shared_cluster() -> Record {
    let Record::Cluster(mut cluster) = cluster() else { unreachable!() };
    let known = std::sync::Arc::make_mut(&mut cluster);
    known.capacity_providers = CapacityProvider::FARGATE.into();
    known.default_capacity_provider_strategy = shares();
    Record::Cluster(cluster)
}

pub(super) fn shared_revision() -> Record {
    let Record::ServiceRevision(mut revision) = service_revision() else { unreachable!() };
    let own = std::sync::Arc::make_mut(&mut revision);
    let spec = RevisionSpec { capacity_provider_strategy: shares(), ..RevisionSpec::clone(&own.spec) };
    own.spec = RevisionSpec { launch_type: LaunchType::Fargate, ..spec }.into();
    Record::ServiceRevision(revision)
}

pub(super) fn reclaimed_instance() -> Record {
    let Record::ContainerInstance(mut instance) = instance() else { unreachable!() };
    std::sync::Arc::make_mut(&mut instance).reclaimed_at = Some(Timestamp(7));
    Record::ContainerInstance(instance)
}

pub(super) fn shared_service() -> Record {
    let Record::Service(mut service) = service() else { unreachable!() };
    std::sync::Arc::make_mut(&mut service).launch_type_before = Some(LaunchType::Ec2);
    Record::Service(service)
}

pub(super) fn spot_task() -> Record {
    let Record::Task(mut task) = network::attached_task() else { unreachable!() };
    let own = std::sync::Arc::make_mut(&mut task);
    let why = Stop::spot_interruption();
    own.launch_type = LaunchType::Fargate;
    own.capacity_provider = Some(CapacityProvider::FargateSpot);
    own.platform = Some(Platform { version: PlatformVersion::V1_4, architecture: CpuArchitecture::Arm64 });
    own.ephemeral_storage_gib = Some(30);
    (own.desired, own.phase) = (Desired::Stopped(why), Phase::Running);
    Record::Task(task)
}

/// Whose caller asked for another disk than its definition.
pub(super) fn stored_task() -> Record {
    let Record::Task(mut task) = spot_task() else { unreachable!() };
    let own = std::sync::Arc::make_mut(&mut task);
    own.overrides.ephemeral_storage_gib = own.ephemeral_storage_gib;
    Record::Task(task)
}

pub(super) fn stored_definition() -> Record {
    let Record::TaskDefinition(mut definition) = definition() else { unreachable!() };
    let own = std::sync::Arc::make_mut(&mut definition);
    std::sync::Arc::make_mut(&mut own.spec).ephemeral_storage_gib = Some(21);
    Record::TaskDefinition(definition)
}

fn volume() -> std::sync::Arc<VolumeConfiguration> {
    std::sync::Arc::new(VolumeConfiguration {
        name: "data".into(),
        size_gib: 5,
        role_arn: "arn:aws:iam::000000000000:role/volumes".into(),
        volume_type: Some(VolumeType::Gp3),
        filesystem: Some(Filesystem::Ext4),
    })
}

/// Given a volume when it was launched.
pub(super) fn task_with_volume() -> Record {
    let Record::Task(mut task) = spot_task() else { unreachable!() };
    let (id, attachment) = ("vol-0123456789abcdef0".into(), "0a1b2c3d-0000-4000-8000-00000000000e".into());
    std::sync::Arc::make_mut(&mut task).volume =
        Some(Box::new(ManagedVolume { configuration: volume(), id, attachment }));
    Record::Task(task)
}

pub(super) fn definition_with_volume() -> Record {
    let Record::TaskDefinition(mut definition) = definition() else { unreachable!() };
    let own = std::sync::Arc::make_mut(&mut definition);
    let volume = Volume { name: "data".into(), source: VolumeSource::AtLaunch };
    std::sync::Arc::make_mut(&mut own.spec).volumes.push(volume);
    Record::TaskDefinition(definition)
}

/// Of a file system that other tasks see too.
pub(super) fn definition_with_efs() -> Record {
    let Record::TaskDefinition(mut definition) = definition() else { unreachable!() };
    let own = std::sync::Arc::make_mut(&mut definition);
    let efs = EfsVolume {
        file_system_id: "fs-0123456789abcdef0".into(),
        root_directory: Some("/web".into()),
        transit_encryption: Some(false),
        ..EfsVolume::default()
    };
    let volume = Volume { name: "shared".into(), source: VolumeSource::Efs(efs) };
    std::sync::Arc::make_mut(&mut own.spec).volumes.push(volume);
    Record::TaskDefinition(definition)
}

/// Of one that is reached over TLS, through an access point.
pub(super) fn definition_with_access_point() -> Record {
    let Record::TaskDefinition(mut definition) = definition() else { unreachable!() };
    let own = std::sync::Arc::make_mut(&mut definition);
    let efs = EfsVolume {
        file_system_id: "fs-0123456789abcdef0".into(),
        root_directory: None,
        transit_encryption: Some(true),
        transit_encryption_port: Some(20_049),
        access_point: Some("fsap-0123456789abcdef0".into()),
        iam: Some(false),
    };
    let volume = Volume { name: "shared".into(), source: VolumeSource::Efs(efs) };
    std::sync::Arc::make_mut(&mut own.spec).volumes.push(volume);
    Record::TaskDefinition(definition)
}

pub(super) fn revision_with_volume() -> Record {
    let Record::ServiceRevision(mut revision) = service_revision() else { unreachable!() };
    let own = std::sync::Arc::make_mut(&mut revision);
    own.spec = RevisionSpec { volume: Some(volume()), ..RevisionSpec::clone(&own.spec) }.into();
    Record::ServiceRevision(revision)
}
