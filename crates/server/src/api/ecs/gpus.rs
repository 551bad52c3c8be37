//! GPUs in AWS's form, and which of them the tasks of one decision get.

use super::task_definition_convert::not_honoured;
use crate::api::ApiError;
use model::{ContainerInstanceArn, GpuId, Resources, Task};
use shapes::ecs as aws;
use state::Snapshot;
use std::collections::BTreeMap;

const GPU: &str = "GPU";

/// How many GPUs `resourceRequirements` asks for, if it asks for any.
///
/// # Errors
/// What is wrong with it, for whoever knows of which container it is; what is not honoured as it is told.
pub(super) fn asked(given: Option<&[aws::ResourceRequirement]>, at: &str) -> Result<Option<u32>, Wrong> {
    let mut asked = None;
    for requirement in given.unwrap_or_default() {
        let kind = requirement.r#type.as_deref().unwrap_or_default();
        match kind {
            GPU => {}
            "InferenceAccelerator" | "NeuronDevice" => {
                return Err(Wrong::NotHonoured(not_honoured(format_args!("{at}.type {kind}"))));
            }
            other => {
                let text = format!("'{other}' is no type of 'resourceRequirements': only GPU is.");
                return Err(Wrong::Setting(text));
            }
        }
        let value = requirement.value.as_deref().unwrap_or_default();
        // Of what cannot be an i32 no client could be shown an amount.
        let count = value.parse::<u32>().ok().filter(|count| (1..=i32::MAX.unsigned_abs()).contains(count));
        let count = count.filter(|_| value.bytes().all(|b| b.is_ascii_digit()));
        let Some(count) = count else {
            let text = format!(
                "The value of 'resourceRequirements' of the type GPU must be a positive integer, not '{value}'."
            );
            return Err(Wrong::Setting(text));
        };
        if asked.replace(count).is_some() {
            return Err(Wrong::Setting("'resourceRequirements' can name the type GPU only once.".to_owned()));
        }
    }
    Ok(asked)
}

/// Why a requirement cannot be.
pub(super) enum Wrong {
    /// A setting of the container's.
    Setting(String),
    /// It is known and not honoured.
    NotHonoured(ApiError),
}

/// The form in which it was asked for.
pub(super) fn requirement(gpus: u32) -> Option<Vec<aws::ResourceRequirement>> {
    let requirement = || aws::ResourceRequirement {
        r#type: Some(GPU.to_owned()),
        value: Some(gpus.to_string()),
        ..aws::ResourceRequirement::default()
    };
    (gpus > 0).then(|| vec![requirement()])
}

/// Gives the tasks of one decision their GPUs, those that their instances have left in the view it was made on. One that finds too few
/// is refused when it is to be started, and placed anew.
pub(crate) fn allot(snapshot: &Snapshot, tasks: &mut [Task]) {
    let mut left: BTreeMap<ContainerInstanceArn, Resources> = BTreeMap::new();
    for task in tasks.iter_mut().filter(|task| task.reservation.gpus > 0 && task.holds_resources()) {
        let Some(instance) = task.instance_arn() else { continue };
        let Some(row) = snapshot.instance(&instance) else { continue };
        left.entry(instance).or_insert_with(|| row.remaining.clone()).allot(&mut task.reservation);
    }
}

/// The resource of an instance: the ids of those it has, or has left.
pub(super) fn resource(all: &Resources, form: impl FnOnce(&str, &str) -> aws::Resource) -> aws::Resource {
    let ids = all.gpus.iter().map(|id| id.as_str().to_owned()).collect();
    aws::Resource { string_set_value: Some(ids), ..form(GPU, "STRINGSET") }
}

/// The ids that an agent tells, as a resource or as its machine's devices.
pub(super) fn ids<'a>(given: impl Iterator<Item = &'a String>) -> Result<Vec<GpuId>, ApiError> {
    let one = |id: &String| GpuId::parse(id).ok_or_else(|| ApiError::invalid(format!("Invalid GPU id {id}.")));
    given.map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_gpus_can_be_asked_for() {
        let requirement = |kind: &str, value: &str| aws::ResourceRequirement {
            r#type: Some(kind.to_owned()),
            value: Some(value.to_owned()),
            ..aws::ResourceRequirement::default()
        };
        let told = |given: &[aws::ResourceRequirement]| match asked(Some(given), "here") {
            Ok(count) => Ok(count),
            Err(Wrong::Setting(text)) => Err(text),
            Err(Wrong::NotHonoured(error)) => Err(error.message),
        };
        assert_eq!((told(&[]), asked(None, "here").ok()), (Ok(None), Some(None)));
        assert_eq!(told(&[requirement("GPU", "2")]), Ok(Some(2)));
        for bad in ["", "0", "-1", "+1", "1.5", " 1", "one", "2147483648"] {
            let text = told(&[requirement("GPU", bad)]).unwrap_err();
            assert!(text.ends_with(&format!("must be a positive integer, not '{bad}'.")), "{text}");
        }
        assert!(told(&[requirement("GPU", "1"), requirement("GPU", "1")]).unwrap_err().contains("only once"));
        for other in ["InferenceAccelerator", "NeuronDevice"] {
            let text = told(&[requirement(other, "device_1")]).unwrap_err();
            assert!(text.starts_with(&format!("Longshore does not honour here.type {other} yet")), "{text}");
        }
        assert!(told(&[requirement("TPU", "1")]).unwrap_err().starts_with("'TPU' is no type"));
    }
}
