//! What `ecs-params.yml` says of a service, laid over what its compose file says, and the defaults that hold without either.

use super::{
    params::{Service, secrets},
    value::mebibytes,
};
use crate::cli::say;
use anyhow::{Result, bail};
use shapes::ecs;

/// What a container gets of whose size nothing is said. Source: the original.
const DEFAULT_MEMORY_MIB: i32 = 512;

/// Completes a container. `sized` says that the task as a whole has a size, so that its containers need none.
pub(super) fn apply(c: &mut ecs::ContainerDefinition, own: Option<&Service>, sized: bool) -> Result<()> {
    let none = Service::default();
    let own = own.unwrap_or(&none);
    c.essential = Some(own.essential.unwrap_or(true));
    if let Some(init) = own.init_process_enabled {
        c.linux_parameters.get_or_insert_default().init_process_enabled = Some(init);
    }
    sizes(c, own, sized)?;
    if let Some(check) = &own.healthcheck {
        check.over(c.health_check.get_or_insert_default())?;
    }
    if let Some(credentials) = own.repository_credentials.as_ref().and_then(|c| c.credentials_parameter.clone()) {
        c.repository_credentials = Some(ecs::RepositoryCredentials { credentials_parameter: Some(credentials) });
    }
    if let Some(options) = own.logging.as_ref().and_then(|logging| secrets(&logging.secret_options)) {
        c.log_configuration.get_or_insert_default().secret_options = Some(options);
    }
    if let Some(firelens) = &own.firelens_configuration {
        c.firelens_configuration =
            Some(ecs::FirelensConfiguration { r#type: firelens.r#type.clone(), options: firelens.options.texts() });
    }
    c.secrets = secrets(&own.secrets);
    if let Some(value) = own.gpu.clone() {
        c.resource_requirements = Some(vec![ecs::ResourceRequirement {
            r#type: Some("GPU".to_owned()),
            value: Some(value),
            ..Default::default()
        }]);
    }
    if !own.depends_on.is_empty() {
        let depends = own.depends_on.iter().map(|d| ecs::ContainerDependency {
            container_name: d.container_name.clone(),
            condition: d.condition.clone(),
        });
        c.depends_on = Some(depends.collect());
    }
    Ok(())
}

fn sizes(c: &mut ecs::ContainerDefinition, own: &Service, sized: bool) -> Result<()> {
    let name = c.name.clone().unwrap_or_default();
    if let Some(cpu) = own.cpu_shares {
        replaced("CPU", &name, c.cpu, cpu);
        c.cpu = Some(cpu);
    }
    if let Some(limit) = &own.mem_limit {
        let limit = mebibytes("mem_limit", limit)?;
        replaced("MemoryLimit", &name, c.memory, limit);
        c.memory = Some(limit);
    }
    if let Some(reservation) = &own.mem_reservation {
        let reservation = mebibytes("mem_reservation", reservation)?;
        replaced("MemoryReservation", &name, c.memory_reservation, reservation);
        c.memory_reservation = Some(reservation);
    }
    match (c.memory, c.memory_reservation) {
        (Some(limit), Some(reservation)) if reservation > limit => {
            bail!("mem_limit must be greater than mem_reservation");
        }
        // AWS: a reservation alone is the limit too.
        (None, Some(reservation)) => c.memory = Some(reservation),
        (None, None) if !sized => c.memory = Some(DEFAULT_MEMORY_MIB),
        _ => {}
    }
    Ok(())
}

fn replaced(option: &str, service: &str, old: Option<i32>, new: i32) {
    if let Some(old) = old.filter(|old| *old != new) {
        let text = format!("Using ecs-params value as override (was {old} but is now {new})");
        say::info(&text, &[("option name", option), ("service name", service)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_follows_from_what_is_known() {
        // What compose says, what ecs-params says, whether the task has a size; what comes out.
        type Sizes = (Option<i32>, Option<i32>);
        let rows: &[(Sizes, &str, bool, Option<Sizes>)] = &[
            ((None, None), "{}", false, Some((Some(512), None))),
            ((None, None), "{}", true, Some((None, None))),
            ((None, Some(64)), "{}", false, Some((Some(64), Some(64)))),
            ((Some(128), Some(64)), "{}", false, Some((Some(128), Some(64)))),
            ((Some(128), None), "{mem_limit: 256m}", false, Some((Some(256), None))),
            ((None, None), "{mem_reservation: 1g}", false, Some((Some(1024), Some(1024)))),
            ((Some(64), None), "{mem_reservation: 128m}", false, None),
        ];
        for ((memory, memory_reservation), own, sized, wanted) in rows {
            let mut c = ecs::ContainerDefinition {
                memory: *memory,
                memory_reservation: *memory_reservation,
                ..Default::default()
            };
            let own: Service = serde_saphyr::from_str(own).unwrap();
            let got = apply(&mut c, Some(&own), *sized).ok().map(|()| (c.memory, c.memory_reservation));
            assert_eq!(got, *wanted, "{memory:?} {memory_reservation:?} {own:?}");
        }
    }
}
