//! One record of each part of a vault. Values are sealed before they come here.

use super::{definition, scope, tags};
use crate::record::{Record, VaultRecord};
use model::{
    ContainerDefinition, ContainerSecret, Firelens, FirelensType, LogConfiguration, LogDriver, Timestamp,
    vault::{CURRENT, PREVIOUS, Parameter, ParameterKind, ParameterVersion, Sealed, Secret, SecretVersion, Value},
};
use std::sync::Arc;

/// One record of each part of a vault, in the order of their kinds.
pub(super) fn examples() -> Vec<Record> {
    let version = |id: &str, stage: &str, at| SecretVersion {
        id: id.into(),
        created_at: Timestamp(at),
        stages: vec![stage.to_owned()],
    };
    let parts: Vec<model::vault::Record> = vec![
        Secret {
            scope: scope(),
            name: "prod/db".into(),
            suffix: "AbCdEf".into(),
            description: Some("who may read".into()),
            created_at: Timestamp(1),
            changed_at: Timestamp(3),
            delete_at: Some(Timestamp(9)),
            tags: tags(),
            versions: vec![version("one", PREVIOUS, 1), version("two", CURRENT, 2)],
        }
        .into(),
        Parameter {
            scope: scope(),
            name: "/web/colour".into(),
            kind: ParameterKind::SecureString,
            tags: tags(),
            versions: vec![ParameterVersion {
                number: 7,
                modified_at: Timestamp(4),
                modified_by: "arn:aws:iam::123456789012:root".into(),
                description: Some("of the front".into()),
                allowed_pattern: Some("blau|grün".into()),
                labels: vec!["prod".into()],
            }],
        }
        .into(),
        Value {
            scope: scope(),
            owner: "secret:prod/db-AbCdEf".into(),
            version: "two".into(),
            sealed: Sealed { key: "0a1b".into(), wrapped: "d3JhcHBlZA==".into(), text: "c2VhbGVk".into() },
        }
        .into(),
    ];
    let whole = Record::Vault(VaultRecord { scope: scope(), version: 5 });
    [whole].into_iter().chain(parts.into_iter().map(Record::VaultPart)).collect()
}

/// A definition with a log router, and a container whose output goes there with a secret option.
pub(super) fn routed_definition() -> Record {
    let Record::TaskDefinition(mut definition) = definition() else { unreachable!() };
    let spec = Arc::make_mut(&mut Arc::make_mut(&mut definition).spec);
    let options = [("Name".to_owned(), "http".to_owned())].into();
    let secret_options = vec![ContainerSecret { name: "apiKey".into(), value_from: "/logs/key".into() }];
    spec.containers[0].log_configuration =
        Some(LogConfiguration { driver: LogDriver::Awsfirelens, options, secret_options });
    let options = [(Firelens::METADATA.to_owned(), "true".to_owned())].into();
    let firelens = Some(Firelens { kind: FirelensType::Fluentbit, options });
    spec.containers.push(ContainerDefinition { name: "router".into(), firelens, ..ContainerDefinition::default() });
    Record::TaskDefinition(definition)
}

/// A definition whose container is given secrets and files.
pub(super) fn given_definition() -> Record {
    let Record::TaskDefinition(mut definition) = definition() else { unreachable!() };
    let spec = Arc::make_mut(&mut Arc::make_mut(&mut definition).spec);
    let container = &mut spec.containers[0];
    container.secrets = vec![ContainerSecret { name: "KEY".into(), value_from: "/web/key".into() }];
    container.environment_files = vec!["arn:aws:s3:::config/web.env".into()];
    container.repository_credentials = Some("registry".into());
    Record::TaskDefinition(definition)
}
