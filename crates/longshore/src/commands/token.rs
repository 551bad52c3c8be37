//! `token`: join tokens, over Systems Manager's activations, which is how ECS Anywhere lets machines in.

use crate::{args::TokenCommand, cli};
use anyhow::{Context, Result};
use shapes::ssm;
use std::process::ExitCode;

pub(super) fn run(command: TokenCommand) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let settings = cli::settings()?;
        match command {
            TokenCommand::Create { cluster, hours, machines } => {
                create(&settings.client, cluster, hours, machines).await?
            }
            TokenCommand::List => list(&settings.client).await?,
            TokenCommand::Delete { id } => {
                settings.client.call(&ssm::DeleteActivationRequest { activation_id: Some(id) }).await?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

async fn create(client: &cli::Client, cluster: Option<String>, hours: u32, machines: i32) -> Result<()> {
    let expires = jiff::Timestamp::now().as_second() + i64::from(hours) * 3600;
    let tag = |cluster: String| ssm::Tag { key: Some("longshore:cluster".to_owned()), value: Some(cluster) };
    let request = ssm::CreateActivationRequest {
        iam_role: Some("longshore".to_owned()),
        registration_limit: Some(machines),
        expiration_date: Some(wire::Timestamp::from_millis(expires * 1000)),
        tags: cluster.map(|c| vec![tag(c)]),
        ..Default::default()
    };
    let made = client.call(&request).await?;
    let id = made.activation_id.context("the activation has no id")?;
    let code = made.activation_code.context("the activation has no code")?;
    cli::out(format_args!("{id}:{code}:{}", client.ca_fingerprint().await?));
    Ok(())
}

async fn list(client: &cli::Client) -> Result<()> {
    let answer = client.call(&ssm::DescribeActivationsRequest::default()).await?;
    let rows: Vec<_> = answer
        .activation_list
        .into_iter()
        .flatten()
        .map(|a| {
            let joined = format!("{}/{}", a.registrations_count.unwrap_or(0), a.registration_limit.unwrap_or(1));
            let expires = a.expiration_date.and_then(|t| jiff::Timestamp::from_millisecond(t.as_millis()).ok());
            vec![
                a.activation_id.unwrap_or_default(),
                joined,
                expires.map(|t| t.to_string()).unwrap_or_default(),
                a.description.unwrap_or_default(),
            ]
        })
        .collect();
    cli::table(&["Id", "Joined", "Expires", "Description"], &rows);
    Ok(())
}
