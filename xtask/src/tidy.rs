//! What the compiler does not check about the house: which crate may lean on which, how long a file may be, that it opens
//! with why, and what must not be written anywhere.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

/// A hand-written file longer than this is two files.
const MAX_LINES: usize = 600;
/// One longer than this is worth a thought; they are counted, not refused.
const LONG_LINES: usize = 400;

/// What each crate may depend on: every edge goes to a strictly lower layer, and only where the map draws it.
/// A new edge is a decision; write it down here and in ARCHITECTURE.md together.
const EDGES: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("scheduler", &["model"]),
    ("link", &["model"]),
    ("effects", &["model"]),
    ("wire", &[]),
    ("state", &["model", "effects"]),
    ("telemetry", &["model", "effects"]),
    ("network", &["effects"]),
    ("runtime", &["effects"]),
    ("shapes", &["wire"]),
    ("server", &["wire", "shapes", "model", "scheduler", "state", "link", "telemetry", "effects"]),
    ("agent", &["link", "model", "network", "runtime", "telemetry", "effects"]),
    (
        "longshore",
        &[
            "server",
            "agent",
            "shapes",
            "wire",
            "model",
            "scheduler",
            "state",
            "link",
            "telemetry",
            "effects",
            "network",
            "runtime",
        ],
    ),
    ("testkit", &["effects", "model", "wire", "shapes"]),
    ("hostile", &["wire", "shapes", "server", "scheduler", "telemetry", "link"]),
    ("xtask", &[]),
];

/// What tests may use besides.
const TEST_EDGES: &[&str] = &["testkit"];

/// Written nowhere. Spelled in two halves, or this file would find itself.
const FORBIDDEN: &[(&str, &str)] = &[
    (concat!("to", "do!("), "unfinished code"),
    (concat!("unimple", "mented!("), "unfinished code"),
    (concat!("FIX", "ME"), "unfinished code"),
    (concat!("#[ign", "ore"), "a test that does not run"),
];

pub(crate) fn run(root: &Path) -> Result<()> {
    let mut faults = edges(root)?;
    let mut long = 0;
    for file in tracked(root)? {
        // Not text, or deleted and not committed yet: nothing to read.
        let Ok(text) = fs::read_to_string(root.join(&file)) else { continue };
        faults.extend(forbidden(root, &file, &text));
        if file.extension().is_some_and(|extension| extension == "rs") && !text.starts_with("// @generated") {
            faults.extend(style(&file, &text));
            long += usize::from(!is_test(&file) && text.lines().count() > LONG_LINES);
        }
    }
    if !faults.is_empty() {
        bail!("tidy:\n  {}", faults.join("\n  "));
    }
    say(&format!("tidy: {long} files are longer than {LONG_LINES} lines"));
    Ok(())
}

#[allow(clippy::print_stderr)]
fn say(text: &str) {
    eprintln!("{text}");
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
    path: Option<PathBuf>,
}

fn edges(root: &Path) -> Result<Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root)
        .output()
        .context("asking cargo for the crates")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Metadata = serde_json::from_slice(&output.stdout)?;
    Ok(metadata.packages.iter().flat_map(refused_edges).collect())
}

fn refused_edges(package: &Package) -> Vec<String> {
    let table: BTreeMap<&str, &[&str]> = EDGES.iter().copied().collect();
    let Some(allowed) = table.get(package.name.as_str()) else {
        return vec![format!("the crate {} is not in the table of layers (xtask/src/tidy.rs)", package.name)];
    };
    let ours = package.dependencies.iter().filter(|dependency| dependency.path.is_some());
    let refused = ours.filter(|dependency| {
        let in_tests = dependency.kind.as_deref() == Some("dev");
        let name = dependency.name.as_str();
        !(allowed.contains(&name) || in_tests && TEST_EDGES.contains(&name))
    });
    refused.map(|dependency| format!("{} may not depend on {}", package.name, dependency.name)).collect()
}

/// The files git knows, and those it would if they were added.
fn tracked(root: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("asking git for the files")?;
    ensure!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout)?;
    Ok(names.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from).collect())
}

fn forbidden(root: &Path, file: &Path, text: &str) -> Vec<String> {
    let here = root.display().to_string();
    let lines = text.lines().enumerate();
    lines
        .filter_map(|(i, line)| {
            let words = FORBIDDEN.iter().find(|(word, _)| line.contains(word)).map(|(_, why)| *why);
            let path = line.contains(&here).then_some("the path of this checkout");
            Some(format!("{}:{}: {}", file.display(), i + 1, words.or(path)?))
        })
        .collect()
}

fn style(file: &Path, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let lines = text.lines().count();
    if lines > MAX_LINES && !is_test(file) {
        faults.push(format!("{}: {lines} lines; split it (at most {MAX_LINES})", file.display()));
    }
    if !text.starts_with("//!") && !is_test(file) {
        faults.push(format!("{}: does not open with why it exists (//!)", file.display()));
    }
    faults
}

fn is_test(file: &Path) -> bool {
    let in_directory = |name: &str| file.components().any(|part| part.as_os_str() == name);
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    in_directory("tests") || in_directory("benches") || stem == "tests" || stem.ends_with("_tests")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, dependency: &str, kind: Option<&str>) -> Package {
        let dependency =
            Dependency { name: dependency.to_owned(), kind: kind.map(str::to_owned), path: Some(PathBuf::from("x")) };
        Package { name: name.to_owned(), dependencies: vec![dependency] }
    }

    #[test]
    fn only_drawn_edges_are_allowed() {
        let check = |name: &str, dependency: &str, kind: Option<&str>, faults: usize| {
            assert_eq!(refused_edges(&package(name, dependency, kind)).len(), faults, "{name} to {dependency}");
        };
        check("server", "model", None, 0);
        check("model", "server", None, 1);
        check("agent", "state", None, 1);
        check("runtime", "testkit", Some("dev"), 0);
        check("runtime", "testkit", None, 1);
        check("stranger", "model", None, 1);
    }

    #[test]
    fn every_edge_goes_down() {
        let order: Vec<&str> = EDGES.iter().map(|(name, _)| *name).collect();
        for (i, (name, allowed)) in EDGES.iter().enumerate() {
            for below in *allowed {
                assert!(order[..i].contains(below), "{name} to {below}");
            }
        }
    }

    #[test]
    fn words_paths_and_lengths_are_found() {
        let root = Path::new("/some/where");
        let found = |text: &str| forbidden(root, Path::new("a.rs"), text);
        assert_eq!(found(&format!("x\n{}\"later\")", FORBIDDEN[0].0)), ["a.rs:2: unfinished code"]);
        assert_eq!(found("open(\"/some/where/else\")"), ["a.rs:1: the path of this checkout"]);
        assert!(found("nothing").is_empty());
        let long = "//! Why.\n".to_owned() + &"x\n".repeat(MAX_LINES);
        assert_eq!(style(Path::new("src/a.rs"), &long).len(), 1);
        assert!(style(Path::new("tests/a.rs"), &long).is_empty());
        assert_eq!(style(Path::new("src/a.rs"), "fn main() {}").len(), 1);
    }
}
