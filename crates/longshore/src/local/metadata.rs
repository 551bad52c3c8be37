//! What a local instance is told of itself, written for its agent: EC2's record of it in the form of the instance metadata
//! service.

use network::Mac;
use server::machines::MachineSpec;
use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// Writes the file anew: a machine that was stopped may have been told something else before.
pub(super) fn write(path: &Path, spec: &MachineSpec) -> io::Result<()> {
    let (machine, place) = (&spec.machine, &spec.place);
    let facts = agent::imds::Facts {
        account: machine.scope.account.to_string(),
        region: machine.scope.region.to_string(),
        availability_zone: machine.availability_zone.clone(),
        availability_zone_id: place.availability_zone_id.clone(),
        instance_id: machine.id.clone(),
        instance_type: machine.instance_type.clone(),
        image_id: machine.image_id.clone(),
        reservation_id: machine.reservation_id.clone(),
        launch_index: machine.launch_index,
        launched_at: machine.launched_at,
        private_ip: machine.private_ip,
        private_dns_name: place.private_dns_name.clone(),
        mac: Mac::for_ipv4(machine.private_ip).to_string(),
        vpc_id: place.vpc.clone(),
        vpc_cidr: place.vpc_cidr.to_string(),
        subnet_id: machine.subnet_id.clone(),
        subnet_cidr: place.subnet_cidr.map(|cidr| cidr.to_string()),
        security_groups: vec![(place.security_group.clone(), "default".to_owned())],
        user_data: machine.user_data.clone(),
        options: machine.metadata_options,
        instance_profile: machine
            .instance_profile
            .as_ref()
            .map(|profile| agent::imds::ProfileFacts { arn: profile.arn.clone(), id: profile.id.clone() }),
    };
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(&serde_json::to_vec(&facts)?)
}
