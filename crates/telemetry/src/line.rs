//! One line of a container's output on its way from the node to the store: the shape both halves of this crate share.

use serde::{Deserialize, Serialize};

/// A line of container output and where it ends in the file it was read from.
///
/// `end` is what makes shipping exactly-once: it names the line independently of how lines were batched, so a batch that is
/// cut differently after a restart is still recognised line by line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When the line was read, in milliseconds since the epoch.
    pub timestamp_millis: i64,
    /// The text, without its newline; never empty; invalid UTF-8 has been replaced.
    pub message: String,
    /// Byte offset in the file just behind this line, newline included.
    pub end: u64,
}
