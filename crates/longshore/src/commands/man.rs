//! `man`: the manual, a page per command, made from the same words as `--help`.

use crate::{cli::out, help};
use anyhow::{Context, Result, anyhow};
use clap::Command;
use clap_mangen::{
    Man,
    roff::{Roff, roman},
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Prints the page of one command, or writes all pages of both names into a folder.
pub(super) fn run(dir: Option<PathBuf>, command: &[String]) -> Result<()> {
    let mut pages = pages(help::longshore())?;
    let Some(dir) = dir else {
        let words = command.iter().flat_map(|word| word.split_whitespace());
        let name = std::iter::once("longshore").chain(words).collect::<Vec<_>>().join("-");
        let page = pages.into_iter().find(|page| page.name == name);
        let page =
            page.ok_or_else(|| anyhow!("there is no command '{}'; see `longshore --help`", command.join(" ")))?;
        out(page.text.trim_end());
        return Ok(());
    };
    pages.extend(self::pages(help::ecs_cli())?);
    write(&pages, &dir).with_context(|| format!("cannot write to {}", dir.display()))?;
    out(format_args!("{} pages are in {}.", pages.len(), dir.display()));
    Ok(())
}

/// What the pages are of.
const SOURCE: &str = concat!("Longshore ", env!("CARGO_PKG_VERSION"));

#[derive(Clone)]
struct Page {
    /// `longshore-compose-up`.
    name: String,
    text: String,
}

fn write(pages: &[Page], dir: &Path) -> std::io::Result<()> {
    fs::create_dir_all(dir)?;
    pages.iter().try_for_each(|page| fs::write(dir.join(format!("{}.1", page.name)), &page.text))
}

fn pages(command: Command) -> Result<Vec<Page>> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let (program, mut pages) = (command.get_name().to_owned(), Vec::new());
    page(&command, &program, "", &mut pages)?;
    Ok(pages)
}

fn page(command: &Command, program: &str, path: &str, pages: &mut Vec<Page>) -> Result<()> {
    let name = [program, path].join(" ").trim_end().replace(' ', "-");
    let mut text = Vec::new();
    let man = Man::new(command.clone()).title(name.to_uppercase()).manual("Longshore").source(SOURCE);
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    if let Some(examples) = help::examples(path, program).filter(|_| program == "longshore" || !path.is_empty()) {
        let mut roff = Roff::new();
        roff.control("SH", ["EXAMPLES"]).control("nf", []);
        for line in examples.lines() {
            roff.text([roman(line)]);
        }
        roff.control("fi", []).to_writer(&mut text)?;
    }
    pages.push(Page { name, text: String::from_utf8(text)? });
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        page(sub, program, format!("{path} {}", sub.get_name()).trim_start(), pages)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::Write as _,
        process::{Command as Process, Stdio},
    };

    #[test]
    fn every_page_is_rendered_without_a_warning() {
        let all = [pages(help::longshore()).unwrap(), pages(help::ecs_cli()).unwrap()].concat();
        assert!(
            all.iter().any(|page| page.name == "longshore-compose-up")
                && all.iter().any(|page| page.name == "ecs-cli-up")
        );
        for page in &all {
            let alone = ["longshore", "ecs-cli"].contains(&page.name.as_str());
            assert_eq!(page.text.contains(".SH EXAMPLES"), !alone || page.name == "longshore", "{}", page.name);
        }
        let text: String = all.iter().map(|page| page.text.as_str()).collect();
        let mut groff = Process::new("groff");
        groff.args(["-ww", "-man", "-Kutf8", "-Tutf8", "-z"]);
        let child = groff.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.expect("`scripts/setup test` installs groff");
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success() && out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
    }
}
