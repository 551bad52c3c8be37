//! What must hold of any vault, looked for anew.

use super::Vault;
use std::collections::BTreeSet;

/// What is wrong, in words for an operator; empty if nothing is. No value is looked into.
pub fn audit(vault: &Vault) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut wanted = BTreeSet::new();
    for secret in vault.secrets() {
        let mut stages = BTreeSet::new();
        for version in &secret.versions {
            if !wanted.insert(secret.value_key(&version.id)) {
                wrong.push(format!("secret {} has version {} twice", secret.name, version.id));
            }
            for stage in version.stages.iter().filter(|stage| !stages.insert(*stage)) {
                wrong.push(format!("secret {} has two versions labelled {stage}", secret.name));
            }
        }
    }
    for parameter in vault.parameters(None) {
        if parameter.versions.is_empty() || !parameter.versions.is_sorted_by(|a, b| a.number < b.number) {
            wrong.push(format!("parameter {} has no versions, or not in order", parameter.name));
        }
        wanted.extend(parameter.versions.iter().map(|version| parameter.value_key(version.number)));
    }
    let there: BTreeSet<_> = vault.values().map(|value| value.key()).collect();
    wrong.extend(wanted.difference(&there).map(|key| format!("the value {key} is missing")));
    wrong.extend(there.difference(&wanted).map(|key| format!("the value {key} is nobody's")));
    wrong
}
