//! How people name a task: by its ARN, by its id or how that begins, or as `ps` shows it: with the cluster before and a container behind.

use super::Client;
use anyhow::{Result, bail};
use shapes::ecs;
use std::collections::BTreeSet;

/// The fewest letters of an id that are looked for.
const BEGINNING: usize = 4;
/// Tasks that are named when several are meant.
const TOLD: usize = 5;

/// What a name says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TaskName {
    pub(super) cluster: Option<String>,
    /// An id, or what may be the beginning of one.
    pub(super) task: String,
    pub(super) container: Option<String>,
}

impl TaskName {
    pub(super) fn parse(text: &str) -> Self {
        let of_arn = text.split_once(":task/").filter(|_| text.starts_with("arn:")).map(|(_, rest)| rest);
        let parts: Vec<&str> = of_arn.unwrap_or(text).split('/').collect();
        // Where no part is a whole id, a name of three has the cluster in front.
        let at = parts.iter().position(|part| is_id(part)).unwrap_or(usize::from(parts.len() > 2));
        let part = |at: usize| parts.get(at).filter(|part| !part.is_empty()).map(|part| (*part).to_owned());
        if parts.len() > at + 2 {
            // No name of a task's container: the server says what it thinks of it.
            return Self { cluster: None, task: text.to_owned(), container: None };
        }
        Self { cluster: at.checked_sub(1).and_then(part), task: part(at).unwrap_or_default(), container: part(at + 1) }
    }

    /// The task's id: the one that begins so, if it is not whole. What no task begins with is left as it is.
    pub(super) async fn id(&self, client: &Client, cluster: &str) -> Result<String> {
        let begins = self.task.len() >= BEGINNING && self.task.chars().all(|c| c.is_ascii_hexdigit());
        if is_id(&self.task) || !begins {
            return Ok(self.task.clone());
        }
        // One that is being stopped may be in both lists.
        let mut found = BTreeSet::new();
        for desired in ["RUNNING", "STOPPED"] {
            found.extend(self.beginning(client, cluster, desired).await?);
        }
        match found.into_iter().collect::<Vec<_>>().as_slice() {
            [] => Ok(self.task.clone()),
            [one] => Ok(one.clone()),
            several => bail!(
                "Several tasks of cluster {cluster} begin with '{}': {}{}",
                self.task,
                several[..several.len().min(TOLD)].join(", "),
                if several.len() > TOLD { ", …" } else { "" }
            ),
        }
    }

    async fn beginning(&self, client: &Client, cluster: &str, desired: &str) -> Result<Vec<String>> {
        let (mut found, mut next_token) = (Vec::new(), None);
        loop {
            let request = ecs::ListTasksRequest {
                cluster: Some(cluster.to_owned()),
                desired_status: Some(desired.to_owned()),
                next_token,
                ..Default::default()
            };
            let page = client.call(&request).await?;
            let ids = page.task_arns.into_iter().flatten();
            let ids = ids.filter_map(|arn| arn.rsplit('/').next().map(str::to_owned));
            found.extend(ids.filter(|id| id.starts_with(&self.task)));
            next_token = page.next_token;
            if next_token.is_none() {
                return Ok(found);
            }
        }
    }
}

fn is_id(part: &str) -> bool {
    part.len() == 32 && part.chars().all(|c| c.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_named_as_they_are_shown() {
        let id = "0123456789abcdef0123456789abcdef";
        let arn = format!("arn:aws:ecs:us-east-1:000000000000:task/web/{id}");
        let short = format!("arn:aws:ecs:us-east-1:000000000000:task/{id}");
        let rows = [
            (id.to_owned(), (None, id, None)),
            (format!("{id}/app"), (None, id, Some("app"))),
            (format!("web/{id}"), (Some("web"), id, None)),
            (format!("web/{id}/app"), (Some("web"), id, Some("app"))),
            (arn.clone(), (Some("web"), id, None)),
            (format!("{arn}/app"), (Some("web"), id, Some("app"))),
            (short, (None, id, None)),
            ("0123".to_owned(), (None, "0123", None)),
            ("0123/app".to_owned(), (None, "0123", Some("app"))),
            ("web/0123/app".to_owned(), (Some("web"), "0123", Some("app"))),
            ("a/b/c/d".to_owned(), (None, "a/b/c/d", None)),
            (format!("{id}/app/more"), (None, &format!("{id}/app/more"), None)),
        ];
        for (given, (cluster, task, container)) in rows {
            let want = TaskName {
                cluster: cluster.map(str::to_owned),
                task: task.to_owned(),
                container: container.map(str::to_owned),
            };
            assert_eq!(TaskName::parse(&given), want, "{given}");
        }
    }
}
