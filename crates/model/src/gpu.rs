//! GPUs: whole ones, known by ids that an instance's agent gives them, and each one task's as long as that holds anything.
//!
//! What a task asks for is a number; which ones it has is decided with its place, so that the state can refuse what would give one to two.

use crate::{Reservation, Resources, TaskDefinitionSpec, TaskOverrides};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The id of a GPU, as `NVIDIA_VISIBLE_DEVICES` lists it: `GPU-` and a UUID, or a number.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GpuId(Arc<str>);

/// Longest id: several times what the vendor's are long.
const MAX_ID: usize = 128;

impl GpuId {
    /// Checks and wraps; `None` of what is none. Ids stand in lists with commas.
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':' | b'/');
        let right = !text.is_empty() && text.len() <= MAX_ID && text.bytes().all(allowed);
        right.then(|| Self(text.into()))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for GpuId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
            .ok_or("an id of a GPU is up to 128 letters, digits, hyphens, underscores, dots, colons and slashes")
    }
}

impl From<GpuId> for String {
    fn from(id: GpuId) -> Self {
        id.as_str().to_owned()
    }
}

impl Resources {
    /// Decides which of the GPUs that are left here a task gets, and takes what it holds out of what is left. Where there are too
    /// few it gets those, and cannot be started.
    pub fn allot(&mut self, want: &mut Reservation) {
        let count = usize::try_from(want.gpus).unwrap_or(usize::MAX);
        want.gpu_ids = self.gpus.iter().take(count).cloned().collect();
        self.take(want);
    }
}

impl Reservation {
    /// Whether it says which GPUs it holds, as one on an instance does.
    pub fn names_its_gpus(&self) -> bool {
        u32::try_from(self.gpu_ids.len()) == Ok(self.gpus)
    }
}

impl TaskDefinitionSpec {
    /// Which of a task's GPUs its containers have, by name: in the definition's order, each as many as it asks for.
    pub fn gpus_of(&self, overrides: &TaskOverrides, ids: &BTreeSet<GpuId>) -> BTreeMap<Arc<str>, Vec<GpuId>> {
        let mut ids = ids.iter().cloned();
        if ids.len() == 0 {
            return BTreeMap::new();
        }
        let containers = self.containers_with(overrides).into_iter().filter(|container| container.gpus > 0);
        containers.map(|c| (c.name.into(), ids.by_ref().take(c.gpus as usize).collect())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ContainerDefinition, ContainerOverride, Family, MemoryMib, resources::Lacking};

    fn id(text: &str) -> GpuId {
        GpuId::parse(text).unwrap()
    }

    fn having(ids: &[&str]) -> Resources {
        Resources { gpus: ids.iter().map(|text| id(text)).collect(), ..Resources::default() }
    }

    fn wanting(gpus: u32) -> Reservation {
        Reservation { gpus, ..Reservation::default() }
    }

    #[test]
    fn ids_can_stand_in_a_list() {
        for good in ["0", "GPU-01234567-89ab-cdef-0123-456789abcdef", "MIG-GPU-0/1/0"] {
            assert_eq!(id(good).as_str(), good);
        }
        for bad in ["", "a,b", "a b", "a=b", "ä", &"x".repeat(129)] {
            assert_eq!(GpuId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn no_gpu_is_given_twice() {
        let mut left = having(&["a", "b", "c"]);
        let (mut one, mut two, mut three) = (wanting(1), wanting(2), wanting(1));
        left.allot(&mut one);
        left.allot(&mut two);
        assert_eq!((one.gpu_ids, two.gpu_ids.clone()), ([id("a")].into(), [id("b"), id("c")].into()));
        assert!(left.gpus.is_empty() && two.names_its_gpus());
        assert_eq!(left.lacks(&three), Some(Lacking::Gpu));
        left.allot(&mut three);
        assert!(!three.names_its_gpus());
        // It is those that count, not how many.
        assert_eq!(having(&["a", "b"]).lacks(&two), Some(Lacking::Gpu));
        assert_eq!(having(&["b", "c"]).lacks(&two), None);
        // What only says how many takes as many.
        let mut left = having(&["a", "b", "c"]);
        left.take(&wanting(2));
        assert_eq!(left, having(&["c"]));
    }

    #[test]
    fn containers_have_what_they_ask_for() {
        let container = |name: &str, gpus| ContainerDefinition {
            name: name.to_owned(),
            image: "i".to_owned(),
            memory: Some(MemoryMib(6)),
            essential: true,
            gpus,
            ..ContainerDefinition::default()
        };
        let spec = TaskDefinitionSpec {
            family: Family::parse("f").unwrap(),
            network_mode: None,
            cpu: None,
            memory: None,
            requires_compatibilities: Vec::new(),
            execution_role_arn: None,
            task_role_arn: None,
            runtime_platform: None,
            ephemeral_storage_gib: None,
            pid_mode: None,
            ipc_mode: None,
            volumes: Vec::new(),
            placement_constraints: Vec::new(),
            containers: vec![container("a", 1), container("b", 0), container("c", 2)],
        };
        let none = TaskOverrides::default();
        let more = ContainerOverride { name: "b".to_owned(), gpus: Some(2), ..ContainerOverride::default() };
        let overrides = TaskOverrides { containers: vec![more], ..TaskOverrides::default() };
        assert_eq!((spec.reservation(&none).gpus, spec.reservation(&overrides).gpus), (3, 5));
        let ids = having(&["1", "2", "3", "4", "5"]).gpus;
        let of = |pairs: &[(&str, &[&str])]| -> BTreeMap<Arc<str>, Vec<GpuId>> {
            pairs.iter().map(|(name, ids)| ((*name).into(), ids.iter().map(|text| id(text)).collect())).collect()
        };
        assert_eq!(spec.gpus_of(&none, &ids), of(&[("a", &["1"]), ("c", &["2", "3"])]));
        assert_eq!(spec.gpus_of(&overrides, &ids), of(&[("a", &["1"]), ("b", &["2", "3"]), ("c", &["4", "5"])]));
        assert_eq!(spec.gpus_of(&none, &BTreeSet::new()), BTreeMap::new());
    }

    #[test]
    fn an_older_record_has_a_number_and_a_newer_one_both() {
        let was = r#"{"cpu":1,"memory":2,"gpus":0,"ports":[]}"#;
        let read: Resources = serde_json::from_str(was).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), was);
        // Nobody could be given one that has no id.
        let read: Resources = serde_json::from_str(r#"{"cpu":1,"memory":2,"gpus":4,"ports":[]}"#).unwrap();
        assert!(read.gpus.is_empty());
        let is = serde_json::to_string(&having(&["a", "b"])).unwrap();
        assert_eq!(is, r#"{"cpu":0,"memory":0,"gpus":2,"ports":[],"gpu_ids":["a","b"]}"#);
        assert_eq!(serde_json::from_str::<Resources>(&is).unwrap(), having(&["a", "b"]));
    }
}
