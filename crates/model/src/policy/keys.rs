//! What is known of a request, by the names that conditions and variables use.

use std::collections::BTreeMap;

/// Condition keys and their values. The case of keys does not matter, also not in what stands behind a slash.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys {
    values: BTreeMap<String, Vec<String>>,
    /// Keys that hold a set: they are no variables, however many values they have.
    sets: Vec<String>,
}

impl Keys {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says a key's one value.
    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        self.values.insert(key.to_ascii_lowercase(), vec![value.into()]);
    }

    /// Says a key's values, of a key that may have several. With none of them the key is not there.
    pub fn set_all(&mut self, key: &str, values: impl IntoIterator<Item = String>) {
        let values: Vec<String> = values.into_iter().collect();
        if !values.is_empty() {
            let key = key.to_ascii_lowercase();
            self.sets.push(key.clone());
            self.values.insert(key, values);
        }
    }

    /// A key's values; none where nothing is known of it.
    pub fn get(&self, key: &str) -> &[String] {
        self.values.get(&key.to_ascii_lowercase()).map_or(&[], Vec::as_slice)
    }

    /// Bytes of the longest value.
    pub(super) fn longest(&self) -> usize {
        self.values.values().flatten().map(String::len).max().unwrap_or(0)
    }

    /// What a variable of that name stands for.
    pub(super) fn variable(&self, key: &str) -> Option<&str> {
        let key = key.to_ascii_lowercase();
        let value = self.values.get(&key).filter(|_| !self.sets.contains(&key))?;
        value.first().map(String::as_str)
    }
}
