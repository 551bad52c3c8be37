//! `token`: join tokens, over Systems Manager's activations, which is how ECS Anywhere lets machines in.

use crate::{
    args::TokenCommand,
    cli::{self, OutputArgs},
};
use anyhow::{Context, Result};
use serde_json::json;
use shapes::ssm;
use std::process::ExitCode;

/// The tag that says which cluster a token lets machines into.
const CLUSTER_TAG: &str = "longshore:cluster";

pub(super) fn run(command: TokenCommand) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let settings = cli::settings()?;
        match command {
            TokenCommand::Create { cluster, hours, machines, output } => {
                create(&settings.client, cluster, hours, machines, output).await?
            }
            TokenCommand::List { output } => list(&settings.client, output).await?,
            TokenCommand::Delete { id } => {
                settings.client.call(&ssm::DeleteActivationRequest { activation_id: Some(id) }).await?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

async fn create(
    client: &cli::Client,
    cluster: Option<String>,
    hours: u32,
    machines: i32,
    output: OutputArgs,
) -> Result<()> {
    let expires = jiff::Timestamp::now().as_second() + i64::from(hours) * 3600;
    let tag = |cluster: String| ssm::Tag { key: Some(CLUSTER_TAG.to_owned()), value: Some(cluster) };
    let request = ssm::CreateActivationRequest {
        iam_role: Some("longshore".to_owned()),
        registration_limit: Some(machines),
        expiration_date: Some(wire::Timestamp::from_millis(expires * 1000)),
        tags: cluster.clone().map(|c| vec![tag(c)]),
        ..Default::default()
    };
    let made = client.call(&request).await?;
    let id = made.activation_id.context("the activation has no id")?;
    let code = made.activation_code.context("the activation has no code")?;
    let token = format!("{id}:{code}:{}", client.ca_fingerprint().await?);
    if output.is_json() {
        let expires = jiff::Timestamp::from_second(expires)?.to_string();
        let made =
            json!({ "token": token, "activationId": id, "expires": expires, "machines": machines, "cluster": cluster });
        return cli::json(&made);
    }
    cli::out(token);
    Ok(())
}

async fn list(client: &cli::Client, output: OutputArgs) -> Result<()> {
    let (mut all, mut next_token) = (Vec::new(), None);
    loop {
        let page = client.call(&ssm::DescribeActivationsRequest { next_token, ..Default::default() }).await?;
        all.extend(page.activation_list.unwrap_or_default());
        next_token = page.next_token;
        if next_token.is_none() {
            break;
        }
    }
    let expires = |a: &ssm::Activation| {
        let at = a.expiration_date.and_then(|t| jiff::Timestamp::from_millisecond(t.as_millis()).ok());
        at.map(|t| t.to_string()).unwrap_or_default()
    };
    let cluster = |a: &ssm::Activation| {
        let tag = a.tags.iter().flatten().find(|tag| tag.key.as_deref() == Some(CLUSTER_TAG));
        tag.and_then(|tag| tag.value.clone())
    };
    let (joined, limit) = (
        |a: &ssm::Activation| a.registrations_count.unwrap_or(0),
        |a: &ssm::Activation| a.registration_limit.unwrap_or(1),
    );
    if output.is_json() {
        let tokens = all.iter().map(|a| {
            json!({ "activationId": a.activation_id, "joined": joined(a), "machines": limit(a), "expires": expires(a),
                    "cluster": cluster(a), "description": a.description })
        });
        return cli::json(&tokens.collect::<Vec<_>>());
    }
    let rows: Vec<_> = all
        .iter()
        .map(|a| {
            let id = a.activation_id.clone().unwrap_or_default();
            let description = a.description.clone().unwrap_or_default();
            vec![id, format!("{}/{}", joined(a), limit(a)), expires(a), cluster(a).unwrap_or_default(), description]
        })
        .collect();
    cli::table(&["Id", "Joined", "Expires", "Cluster", "Description"], &rows);
    Ok(())
}
