//! Cuts botocore's models down to `models/<service>.json`: kept operations, the shapes they reach, no prose.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::kept::{Kept, SERVICES};
use super::model::{Model, Ref};

/// Reads an unpacked botocore (the directory that holds `data/`, or one above it) or a wheel, and writes `models/`.
pub(crate) fn trim_models(root: &Path, botocore: &Path) -> Result<()> {
    let unpacked;
    let data = if botocore.is_file() {
        unpacked = unpack(root, botocore)?;
        unpacked.join("botocore/data")
    } else if botocore.join("data").is_dir() {
        botocore.join("data")
    } else {
        botocore.join("botocore/data")
    };
    let models = root.join("models");
    fs::create_dir_all(&models)?;
    for kept in SERVICES {
        let source = data.join(kept.dir).join("service-2.json.gz");
        let mut model: Model =
            serde_json::from_slice(&gunzip(&source)?).with_context(|| format!("parsing {}", source.display()))?;
        trim(kept, &mut model)?;
        fs::write(models.join(format!("{}.json", kept.name)), model.render()?)?;
    }
    Ok(())
}

fn trim(kept: &Kept, model: &mut Model) -> Result<()> {
    for name in kept.operations {
        ensure!(model.operations.contains_key(*name), "{} has no operation {name}", kept.name);
    }
    if !kept.operations.is_empty() {
        model.operations.retain(|name, _| kept.operations.contains(&name.as_str()));
    }
    // A service that understands more than JSON is asked in JSON by botocore and by every older client, so that is what we speak.
    if model.metadata.protocols.iter().any(|protocol| protocol == "json") {
        model.metadata.protocol = "json".to_owned();
    }
    let mut reached = BTreeSet::new();
    let mut todo: Vec<String> = model
        .operations
        .values()
        .flat_map(|op| op.input.iter().chain(&op.output).chain(&op.errors))
        .map(|reference| reference.shape.clone())
        .collect();
    while let Some(name) = todo.pop() {
        let Some(shape) = model.shapes.get(&name) else { bail!("{} names no shape {name}", kept.name) };
        if reached.insert(name) {
            let parts = shape.members.values().chain(&shape.member).chain(&shape.key).chain(&shape.value);
            todo.extend(parts.map(|part: &Ref| part.shape.clone()));
        }
    }
    model.shapes.retain(|name, _| reached.contains(name));
    Ok(())
}

/// A wheel is a zip; Python, which made it, unpacks it. Only the person who updates the models needs Python.
fn unpack(root: &Path, wheel: &Path) -> Result<PathBuf> {
    let into = root.join("target/botocore");
    fs::create_dir_all(&into)?;
    let status = Command::new("python3").args(["-m", "zipfile", "-e"]).arg(wheel).arg(&into).status()?;
    ensure!(status.success(), "could not unpack {}", wheel.display());
    Ok(into)
}

fn gunzip(path: &Path) -> Result<Vec<u8>> {
    let output = Command::new("gzip").arg("-dc").arg(path).output().context("running gzip")?;
    ensure!(output.status.success(), "could not read {}", path.display());
    Ok(output.stdout)
}
