//! A terminal in a container: what the server asks an agent for, and what the two say on the connection that is made for it.

use base64::{Engine, engine::general_purpose::STANDARD};
use model::TaskArn;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::sync::Arc;

/// Dial the terminal's door and run this there. An agent that cannot dials all the same, and says why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenTerminal {
    /// By which the connection is told from others.
    pub session: String,
    /// The task.
    pub task: TaskArn,
    /// Its container, by name.
    pub container: Arc<str>,
    /// What is run, word by word.
    pub command: Vec<String>,
    /// How large the terminal is at first.
    pub size: TerminalSize,
}

/// How large a terminal is, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Across.
    pub columns: u16,
    /// Down.
    pub rows: u16,
}

impl Default for TerminalSize {
    /// What a terminal is taken for that has not said.
    fn default() -> Self {
        Self { columns: 80, rows: 24 }
    }
}

/// What an agent says of a terminal. The first is `Here`, the last `Ended` or `Failed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromTerminal {
    /// This connection is for that session.
    Here {
        /// See [`OpenTerminal`].
        session: String,
    },
    /// The command runs.
    Running,
    /// What it shows.
    Output(#[serde(serialize_with = "encode", deserialize_with = "decode")] Vec<u8>),
    /// It has ended, with this code.
    Ended(u32),
    /// It could not be run, or not any longer.
    Failed(String),
}

/// What a server says to a terminal. The connection's end ends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToTerminal {
    /// What is typed.
    Input(#[serde(serialize_with = "encode", deserialize_with = "decode")] Vec<u8>),
    /// It has this size by now.
    Size(TerminalSize),
}

fn encode<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

fn decode<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    STANDARD.decode(<&str>::deserialize(deserializer)?).map_err(D::Error::custom)
}
