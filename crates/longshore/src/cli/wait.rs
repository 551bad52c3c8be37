//! Waiting for a cluster to come where it should, with a bar that shows how far it is.

use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use std::{future::Future, time::Duration};

/// How often the server is asked. Its answers come from memory, so a person may have them quickly.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// Asks `done` until it answers `total`; the bar hides itself when nobody is watching.
#[allow(clippy::disallowed_methods)] // The CLI has no effects to be simulated.
pub(crate) async fn until<F, W>(what: &str, total: u64, limit: Duration, mut done: F) -> Result<()>
where
    F: FnMut() -> W,
    W: Future<Output = Result<u64>>,
{
    let bar = ProgressBar::new(total);
    let style = ProgressStyle::with_template("{msg} [{bar:30}] {pos}/{len} {elapsed}")?;
    bar.set_style(style.progress_chars("=> "));
    bar.set_message(what.to_owned());
    let asking = async {
        loop {
            let reached = done().await?;
            bar.set_position(reached.min(total));
            if reached >= total {
                return Ok(());
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    };
    let result = tokio::time::timeout(limit, asking).await;
    bar.finish_and_clear();
    match result {
        Ok(result) => result,
        Err(_) => bail!("{what}: not done after {} seconds", limit.as_secs()),
    }
}
