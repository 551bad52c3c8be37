//! Completions: a script for the shell that asks the program itself, so that clusters, tasks and profiles complete too.
//!
//! Whatever keeps the server from answering, completing is silent: nobody who presses Tab asked for an error.

use crate::cli;
use anyhow::{Context, Result};
use clap::Command;
use clap_complete::{
    ArgValueCandidates, CompletionCandidate,
    env::{CompleteEnv, Shells},
};
use serde::{Deserialize, de::IgnoredAny};
use shapes::{ecs, ssm};
use std::{collections::BTreeMap, ffi::OsStr, future::Future, path::PathBuf, time::Duration};

/// The variable by which a shell asks for completions instead of running the command.
const VARIABLE: &str = "COMPLETE";
/// How long the server may take: longer than that, and typing is quicker.
const PATIENCE: Duration = Duration::from_secs(2);

/// Answers the shell and ends the process, if it is the shell that asks.
pub(crate) fn answer(command: fn() -> Command) {
    CompleteEnv::with_factory(command).var(VARIABLE).complete();
}

/// The script of a shell, for both names.
pub(crate) fn script(shell: &str) -> Result<String> {
    let shells = Shells::builtins();
    let completer = shells.completer(shell).context("the shell is one of those that are offered")?;
    let mut script = Vec::new();
    for name in ["longshore", "ecs-cli"] {
        completer.write_registration(VARIABLE, name, name, name, &mut script)?;
    }
    Ok(String::from_utf8(script)?)
}

/// The command, with completers for the values that only a server or a file of the user's knows.
pub(crate) fn dressed(command: Command) -> Command {
    let command = command.mut_args(|arg| match arg.get_id().as_str() {
        "cluster" => arg.add(ArgValueCandidates::new(clusters)),
        "service" => arg.add(ArgValueCandidates::new(services)),
        "family" => arg.add(ArgValueCandidates::new(families)),
        "sender" => arg.add(ArgValueCandidates::new(senders)),
        "task_id" | "task" => arg.add(ArgValueCandidates::new(tasks)),
        "ecs_profile" => arg.add(ArgValueCandidates::new(|| in_file("credentials", |names| names.ecs_profiles))),
        "cluster_config" => arg.add(ArgValueCandidates::new(|| in_file("config", |names| names.clusters))),
        _ => arg,
    });
    command.mut_subcommands(|sub| {
        let is_delete = sub.get_name() == "delete";
        let sub = dressed(sub);
        if is_delete {
            sub.mut_args(|arg| if arg.get_id() == "id" { arg.add(ArgValueCandidates::new(tokens)) } else { arg })
        } else {
            sub
        }
    })
}

fn ask<F, W>(question: F) -> Vec<CompletionCandidate>
where
    F: FnOnce(cli::Client) -> W,
    W: Future<Output = Result<Vec<String>>>,
{
    let answered = || {
        let client = cli::settings()?.client;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async { tokio::time::timeout(PATIENCE, question(client)).await? })
    };
    answered().unwrap_or_default().into_iter().map(CompletionCandidate::new).collect()
}

fn names(arns: Option<Vec<String>>) -> Vec<String> {
    arns.into_iter().flatten().filter_map(|arn| arn.rsplit('/').next().map(str::to_owned)).collect()
}

fn clusters() -> Vec<CompletionCandidate> {
    ask(|client| async move { Ok(names(client.call(&ecs::ListClustersRequest::default()).await?.cluster_arns)) })
}

fn services() -> Vec<CompletionCandidate> {
    ask(|client| async move {
        let request =
            ecs::ListServicesRequest { cluster: cluster_meant(), max_results: Some(100), ..Default::default() };
        Ok(names(client.call(&request).await?.service_arns))
    })
}

fn families() -> Vec<CompletionCandidate> {
    ask(|client| async move {
        let active = Some("ACTIVE".to_owned());
        let request = ecs::ListTaskDefinitionFamiliesRequest { status: active, ..Default::default() };
        Ok(client.call(&request).await?.families.unwrap_or_default())
    })
}

/// A page of each: more would be no help in choosing.
fn tasks() -> Vec<CompletionCandidate> {
    ask(|client| async move {
        let cluster = cluster_meant();
        let mut found = Vec::new();
        for status in ["RUNNING", "STOPPED"] {
            let request = ecs::ListTasksRequest {
                cluster: cluster.clone(),
                desired_status: Some(status.to_owned()),
                ..Default::default()
            };
            found.extend(names(client.call(&request).await?.task_arns));
        }
        Ok(found)
    })
}

/// Who may open a connection: services, tasks, and anybody.
fn senders() -> Vec<CompletionCandidate> {
    let of_service = |name: CompletionCandidate| name.add_prefix("service/");
    let mut all: Vec<_> = services().into_iter().map(of_service).collect();
    all.extend(tasks());
    all.push(CompletionCandidate::new("internet"));
    all
}

fn tokens() -> Vec<CompletionCandidate> {
    ask(|client| async move {
        let answer = client.call(&ssm::DescribeActivationsRequest::default()).await?;
        Ok(answer.activation_list.into_iter().flatten().filter_map(|a| a.activation_id).collect())
    })
}

/// The cluster that is on the command line, else the one that commands mean.
fn cluster_meant() -> Option<String> {
    let named = cluster_in(std::env::args_os().map(|word| word.to_string_lossy().into_owned()));
    named.or_else(|| cli::settings().ok().map(|settings| settings.cluster))
}

/// The cluster that is on the command line already.
fn cluster_in(mut words: impl Iterator<Item = String>) -> Option<String> {
    while let Some(word) = words.next() {
        if word == "--cluster" || word == "-c" {
            return words.next();
        }
        if let Some(name) = word.strip_prefix("--cluster=") {
            return Some(name.to_owned());
        }
    }
    None
}

/// The names in a file of `configure`.
#[derive(Default, Deserialize)]
struct Names {
    #[serde(default)]
    clusters: BTreeMap<String, IgnoredAny>,
    #[serde(default)]
    ecs_profiles: BTreeMap<String, IgnoredAny>,
}

fn in_file(file: &str, of: fn(Names) -> BTreeMap<String, IgnoredAny>) -> Vec<CompletionCandidate> {
    let home = std::env::var_os("HOME").unwrap_or_default();
    let path = PathBuf::from(home).join(".ecs").join(OsStr::new(file));
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let names: Names = serde_saphyr::from_str(&text).unwrap_or_default();
    of(names).into_keys().map(CompletionCandidate::new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_on_the_command_line_is_found() {
        for (line, cluster) in [
            ("longshore logs --cluster shop --task-id", Some("shop")),
            ("longshore logs -c shop --task-id", Some("shop")),
            ("longshore logs --cluster=shop --task-id", Some("shop")),
            ("longshore logs --task-id", None),
        ] {
            assert_eq!(cluster_in(line.split(' ').map(str::to_owned)).as_deref(), cluster, "{line}");
        }
    }

    #[test]
    fn each_script_is_for_both_names() {
        for shell in ["bash", "zsh", "fish"] {
            let script = script(shell).unwrap();
            assert!(script.contains("longshore") && script.contains("ecs-cli"), "{shell}: {script}");
        }
    }
}
