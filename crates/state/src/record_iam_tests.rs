//! One record of each part of IAM. Secrets are sealed before they come here.

use super::{scope, tags};
use crate::record::{IamRecord, Record};
use model::{
    Timestamp,
    iam::{AccessKey, InstanceProfile, KeyStatus, Permissions, Policy, PolicyVersion, Role, User},
    vault::Sealed,
};

const DOCUMENT: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecs:*","Resource":"*"}]}"#;

fn permissions() -> Permissions {
    Permissions {
        inline: [("own".to_owned(), DOCUMENT.to_owned())].into(),
        attached: ["arn:aws:iam::123456789012:policy/team/deploy".to_owned()].into(),
    }
}

/// One record of each part of IAM, in the order of their kinds.
pub(super) fn examples() -> Vec<Record> {
    let account = scope().account;
    let whole = Record::Iam(IamRecord { account: account.clone(), version: 5 });
    let parts: Vec<model::iam::Record> = vec![
        User {
            account: account.clone(),
            name: "ada".into(),
            path: "/team/".into(),
            id: "AIDAABCDEFGHIJKLMNOPQ".into(),
            created_at: Timestamp(1),
            tags: tags(),
            permissions: permissions(),
        }
        .into(),
        AccessKey {
            account: account.clone(),
            id: "AKIAABCDEFGHIJKLMNOP".into(),
            user: "ada".into(),
            status: KeyStatus::Inactive,
            created_at: Timestamp(2),
            secret: Sealed { key: "0a1b".into(), wrapped: "d3JhcHBlZA==".into(), text: "c2VhbGVk".into() },
        }
        .into(),
        Role {
            account: account.clone(),
            name: "web".into(),
            path: "/".into(),
            id: "AROAABCDEFGHIJKLMNOPQ".into(),
            created_at: Timestamp(3),
            description: Some("what the tasks are".into()),
            trust: DOCUMENT.into(),
            max_session_seconds: 3600,
            tags: tags(),
            permissions: permissions(),
        }
        .into(),
        Policy {
            account: account.clone(),
            name: "deploy".into(),
            path: "/team/".into(),
            id: "ANPAABCDEFGHIJKLMNOPQ".into(),
            description: Some("who deploys".into()),
            created_at: Timestamp(4),
            updated_at: Timestamp(5),
            tags: tags(),
            default_version: 2,
            last_version: 3,
            versions: vec![PolicyVersion { number: 2, document: DOCUMENT.into(), created_at: Timestamp(5) }],
        }
        .into(),
        InstanceProfile {
            account,
            name: "machine".into(),
            path: "/".into(),
            id: "AIPAABCDEFGHIJKLMNOPQ".into(),
            created_at: Timestamp(6),
            tags: tags(),
            role: Some("web".into()),
        }
        .into(),
    ];
    [whole].into_iter().chain(parts.into_iter().map(Record::IamPart)).collect()
}
