//! Chores in Rust, so that they run the same on every machine: regenerate the shapes (`codegen`), check the layers
//! (`tidy`), render the coverage table (`coverage`). Every chore has a `--check` form or is one, for `.ci/run`.

mod codegen;
mod coverage;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask <chore>
  codegen                       regenerate crates/shapes/src from models/
  codegen --check               fail if regenerating would change a byte
  codegen --botocore <path>     first trim new models from an unpacked botocore or its wheel
  tidy                          crate layers, file lengths, forbidden strings
  coverage [--check]            docs/coverage.md from `longshore coverage`";

#[allow(clippy::print_stderr)]
fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["codegen"] => codegen::regenerate(&root(), false),
        ["codegen", "--check"] => codegen::regenerate(&root(), true),
        ["codegen", "--botocore", path] => {
            codegen::trim_models(&root(), path.as_ref()).and_then(|()| codegen::regenerate(&root(), false))
        }
        ["tidy"] => tidy::run(&root()),
        ["coverage"] => coverage::run(&root(), false),
        ["coverage", "--check"] => coverage::run(&root(), true),
        _ => Err(anyhow::anyhow!(USAGE)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The workspace's root: xtask is one level below it.
fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("xtask lives inside the workspace").to_path_buf()
}
