//! Who takes our commands: a small book-keeper that knows what `nft` refuses, and `nft` itself in a namespace that ends with it.

use crate::vpc::{Ruleset, table};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// A table as the commands make it. Panics on what nft would refuse.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Book {
    /// Hook and rules.
    chains: BTreeMap<String, (String, Vec<String>)>,
    /// Type and elements, those of maps with what they lead to.
    sets: BTreeMap<String, (String, BTreeMap<String, String>)>,
}

impl Book {
    /// What a state is by itself.
    pub(super) fn of(ruleset: &Ruleset) -> Self {
        let mut book = Self::default();
        book.apply(&ruleset.replace(&table()));
        book
    }

    pub(super) fn apply(&mut self, batch: &str) {
        for line in batch.lines() {
            let words: Vec<_> = line.splitn(6, ' ').collect();
            let rest = words.get(5).copied().unwrap_or_default();
            let name = words.get(4).copied().unwrap_or_default().to_owned();
            match (words[0], words[1]) {
                ("delete", "table") => *self = Self::default(),
                ("add", "table") => {}
                ("add", "chain") => {
                    let had = self.chains.insert(name, (rest.to_owned(), vec![]));
                    assert!(had.is_none(), "there already: {line}");
                }
                ("flush", "chain") => self.chains.get_mut(&name).expect(line).1.clear(),
                ("add", "rule") => {
                    self.refers(rest);
                    self.chains.get_mut(&name).expect(line).1.push(rest.to_owned());
                }
                ("add", "set" | "map") => {
                    assert!(self.sets.insert(name, (rest.to_owned(), BTreeMap::new())).is_none(), "{line}");
                }
                ("add", "element") => {
                    for (key, data) in elements(rest) {
                        self.refers(&data);
                        let set = &mut self.sets.get_mut(&name).expect(line).1;
                        assert!(set.insert(key, data).is_none(), "there already: {line}");
                    }
                }
                ("delete", "element") => {
                    for (key, _) in elements(rest) {
                        assert!(self.sets.get_mut(&name).expect(line).1.remove(&key).is_some(), "not there: {line}");
                    }
                }
                ("delete", "chain") => {
                    assert!(self.chains.remove(&name).is_some_and(|(_, rules)| rules.is_empty()), "{line}");
                    assert!(!self.referred().contains(&name), "in use: {line}");
                }
                ("delete", "set") => {
                    assert!(self.sets.remove(&name).is_some(), "{line}");
                    assert!(!self.referred().contains(&format!("@{name}")), "in use: {line}");
                }
                _ => panic!("what is {line}?"),
            }
        }
    }

    /// Everything a text names has to be there.
    fn refers(&self, text: &str) {
        for named in named(text) {
            let there =
                named.strip_prefix('@').map_or(self.chains.contains_key(&named), |set| self.sets.contains_key(set));
            assert!(there, "{text} names what is not there");
        }
    }

    fn referred(&self) -> BTreeSet<String> {
        let rules = self.chains.values().flat_map(|(_, rules)| rules);
        let data = self.sets.values().flat_map(|(_, elements)| elements.values());
        rules.chain(data).flat_map(|text| named(text)).collect()
    }
}

fn named(text: &str) -> Vec<String> {
    let words: Vec<_> = text.split(' ').collect();
    let chains = words.windows(2).filter(|pair| ["jump", "goto"].contains(&pair[0])).map(|pair| pair[1]);
    chains.chain(words.iter().copied().filter(|word| word.starts_with('@'))).map(str::to_owned).collect()
}

fn elements(text: &str) -> Vec<(String, String)> {
    let text = text.trim_matches(['{', '}', ' ']);
    let each = text.split(", ").map(|each| each.trim_matches([' ', ','])).filter(|each| !each.is_empty());
    each.map(|each| each.split_once(" : ").unwrap_or((each, ""))).map(|(a, b)| (a.to_owned(), b.to_owned())).collect()
}

/// What the kernel lists after these batches, each its own transaction, in a namespace that is gone then.
pub(super) fn listed_after(batches: &[String]) -> String {
    let dir = tempfile::tempdir().expect("a folder");
    let mut script = String::new();
    for (n, batch) in batches.iter().enumerate() {
        std::fs::write(dir.path().join(n.to_string()), batch).expect("written");
        script.push_str(&format!("nft -f {n} || {{ cat {n} >&2; exit 1; }}; "));
    }
    script.push_str("nft -s list ruleset");
    let run = Command::new("unshare").args(["--net", "sh", "-c", &script]).current_dir(dir.path()).output();
    let output = run.expect("unshare");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // Sets are listed in the order of their hashes, whose seeds differ, over several lines.
    let text = String::from_utf8(output.stdout).expect("text");
    let mut lines: Vec<String> = text.lines().map(str::trim).map(str::to_owned).collect();
    for line in &mut lines {
        *line = line.replace("elements = {", "").replace([',', '}'], "").trim().to_owned();
    }
    let mut pieces: Vec<String> = lines;
    pieces.sort();
    pieces.join("\n")
}
