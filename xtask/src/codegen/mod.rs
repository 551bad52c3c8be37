//! From AWS's service models to `crates/shapes`: names, types and constraints, never documentation.
//!
//! Two steps, so that a checkout needs nothing from outside: `trim` cuts botocore's models down to what we serve and
//! stores them in `models/`; `regenerate` turns `models/` into Rust. CI runs the second with `--check`.

mod kept;
mod model;
mod names;
mod schema;
mod trim;
mod types;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

pub(crate) use trim::trim_models;

/// Writes `crates/shapes/src/*.rs`; with `check`, only compares and fails naming the first files that differ.
pub(crate) fn regenerate(root: &Path, check: bool) -> Result<()> {
    let src = root.join("crates/shapes/src");
    let mut stale = Vec::new();
    for (path, text) in generate(root)? {
        let path = src.join(path);
        let text = rustfmt(root, &text).with_context(|| format!("formatting {}", path.display()))?;
        if fs::read_to_string(&path).is_ok_and(|old| old == text) {
            continue;
        }
        if check {
            stale.push(path.display().to_string());
            continue;
        }
        fs::create_dir_all(path.parent().expect("generated files live in a directory"))?;
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    if !stale.is_empty() {
        bail!("generated code is stale; run `cargo xtask codegen`:\n  {}", stale.join("\n  "));
    }
    Ok(())
}

/// Every generated file, relative to `crates/shapes/src`, before formatting.
fn generate(root: &Path) -> Result<Vec<(PathBuf, String)>> {
    let mut files = Vec::new();
    for kept in kept::SERVICES {
        let model = model::Model::load(&root.join("models").join(format!("{}.json", kept.name)))?;
        let service = names::Named::new(kept, &model)?;
        files.push((PathBuf::from(format!("{}.rs", kept.name)), types::emit(&service)));
        files.push((PathBuf::from(kept.name).join("schema.rs"), schema::emit(&service)));
    }
    Ok(files)
}

fn rustfmt(root: &Path, text: &str) -> Result<String> {
    let mut child = Command::new("rustfmt")
        .args(["--edition", "2024", "--emit", "stdout", "--quiet"])
        // The style is the workspace's, wherever we are called from.
        .current_dir(root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("rustfmt is part of the toolchain in rust-toolchain.toml")?;
    let mut stdin = child.stdin.take().expect("stdin was asked for");
    let input = text.to_owned();
    // rustfmt reads everything before it writes, so filling its input first cannot block.
    stdin.write_all(input.as_bytes())?;
    drop(stdin);
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("rustfmt refused the generated text");
    }
    Ok(String::from_utf8(output.stdout)?)
}
