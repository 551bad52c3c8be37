//! What the server says to an agent and the agent says back: versioned frames over mutual TLS.
//!
//! The link is level-triggered. A session begins with the whole set of tasks an instance shall hold, and goes on with what
//! changes of it; the agent always sends the whole of what it knows of a task. So nothing that a broken session lost is missed,
//! and one that comes back begins with the same messages as one that never broke. Agents only ever dial; the server never does.
//!
//! There are four doors on one TLS port, told apart by ALPN: [`ALPN_JOIN`] needs no client certificate and answers exactly one
//! [`JoinRequest`]; [`ALPN_SESSION`] needs a certificate of the server's own CA, whose [`Identity`] says who is calling;
//! [`ALPN_TERMINAL`] needs one too, and carries one terminal in a container, so that its output holds up nothing else;
//! [`ALPN_API`] needs one too, and behind it is the AWS endpoint, for the tasks of that machine.
//! Source of the shape: our own; `docs/decisions/0006-link.md` says why it is not the original's ACS protocol.

mod frame;
mod identity;
mod message;
mod network;
mod provision;
mod question;
mod terminal;

pub use frame::{FrameError, Framed, MAX_FRAME, MAX_SMALL_FRAME, Receiver, Sender, framed, framed_small};
pub use identity::{Identity, InvalidIdentity};
pub use message::{
    AgentMessage, AssignedInterface, AssignedVolume, Assignment, Assignments, Goodbye, GoodbyeCode, Hello, JoinAnswer,
    JoinRefusal, JoinRequest, LogBatch, LogEvent, LogOutcome, ServerMessage, Welcome,
};
pub use network::{
    AliasView, Aliases, InterfaceView, Keys, NameView, Names, Networks, SrvView, SubnetView, Views, VpcFacts, VpcNews,
    VpcView, Way,
};
pub use provision::{Encrypted, ExportedFolder, Login, Provided, Provision, RoleCredentials};
pub use question::{Answer, Question};
pub use terminal::{FromTerminal, OpenTerminal, TerminalSize, ToTerminal};

/// ALPN of a joining machine.
pub const ALPN_JOIN: &[u8] = b"longshore-join/1";
/// ALPN of an agent's session.
pub const ALPN_SESSION: &[u8] = b"longshore-link/1";
/// ALPN of a terminal: a connection that an agent makes because its session asks for one.
pub const ALPN_TERMINAL: &[u8] = b"longshore-terminal/1";
/// ALPN of a connection to the AWS endpoint, which an agent makes for one of its tasks. What is in it is the task's own HTTP.
pub const ALPN_API: &[u8] = b"longshore-api/1";
/// The version in [`Hello`]; raised when a message changes its meaning. Members may be added without raising it.
pub const PROTOCOL: u32 = 2;
