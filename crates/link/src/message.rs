//! The messages. Members a side does not know are ignored, and one that is added has a serde default; a message it does not
//! know ends the session, so a new kind of message raises [`PROTOCOL`](crate::PROTOCOL).

use crate::network::Networks;
use crate::question::{Answer, Question};
use crate::terminal::OpenTerminal;
use ipnet::Ipv4Net;
use model::network::{InterfaceId, VpcId};
use model::{
    AgentInfo, Attributes, ClusterName, Desired, GpuId, LaunchType, LogMode, Measured, Resources, TaskArn,
    TaskDefinitionArn, TaskDefinitionSpec, TaskObservation, TaskOverrides, Timestamp, WireguardKey,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

/// A machine asks to be let in. Sent over TLS with the server's CA pinned by the token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JoinRequest {
    /// The activation's id.
    pub activation_id: String,
    /// The activation's secret.
    pub activation_code: String,
    /// The cluster it wants to join; `default` if its token does not say otherwise.
    pub cluster: Option<ClusterName>,
    /// A certificate signing request in PEM; only its public key is used.
    pub csr_pem: String,
}

/// The answer to a [`JoinRequest`] or a renewal.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JoinAnswer {
    /// Let in.
    Joined {
        /// The machine's certificate, PEM.
        certificate_pem: String,
        /// The CA's certificate, PEM.
        ca_pem: String,
    },
    /// Not let in.
    Refused(JoinRefusal),
}

/// Why a machine was not let in, in words that say what to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JoinRefusal {
    /// For people.
    pub message: String,
    /// Whether asking again later can help.
    pub retry: bool,
}

/// What an agent sends in its session. The first must be `Hello`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentMessage {
    /// Who and what I am.
    Hello(Hello),
    /// I am here. Sent when nothing else was sent for the interval in [`Welcome`].
    Heartbeat,
    /// What I see. Answered by `ReportAck` once it is durable.
    Report {
        /// Counted from 1 in each session.
        seq: u64,
        /// Whole observations of the tasks that changed since the last acknowledged report; after `Hello`, of all.
        tasks: Vec<TaskObservation>,
        /// What tasks have used so far, those of whom that changed likewise. All that is known of each: a second telling adds
        /// nothing.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        measured: Vec<(TaskArn, Measured)>,
    },
    /// Container output. Answered by `LogsAck` once it is durable.
    Logs {
        /// Counted from 1 in each session.
        seq: u64,
        /// At most one batch per stream.
        batches: Vec<LogBatch>,
    },
    /// Give me a fresh certificate. Answered by `Renewed`.
    Renew {
        /// A certificate signing request in PEM; only its public key is used.
        csr_pem: String,
    },
    /// Something that a task asks. Sent only to a server that answers; answered by `Answered`, in whatever order.
    Ask {
        /// Counted from 1 in each session.
        id: u64,
        /// What.
        question: Question,
    },
}

/// The first message of a session.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Hello {
    /// The sender's version of this protocol.
    pub protocol: u32,
    /// The agent.
    pub agent: AgentInfo,
    /// All the instance has.
    pub resources: Resources,
    /// Capabilities and platform (`ecs.capability.…`, `ecs.os-type`, `ecs.cpu-architecture`, `ecs.instance-type`,
    /// `ecs.availability-zone`, …) and the operator's own.
    pub attributes: Attributes,
    /// An address at which published ports can be reached.
    pub address: Option<IpAddr>,
    /// The public key with which what others send it of VPCs can be encrypted; none where the machine has no WireGuard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wireguard: Option<WireguardKey>,
    /// The tasks in the agent's ledger. The server stops those it does not know by leaving them out of `Assignments`.
    pub tasks: Vec<TaskArn>,
}

/// What a server sends in a session. The first is `Welcome` or `Goodbye`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerMessage {
    /// You are registered.
    Welcome(Welcome),
    /// What you shall hold.
    Assignments(Assignments),
    /// What has changed of the VPCs you carry. Sent before the assignment of a task that is in one, and only to agents with
    /// the capability `task-eni`, which know it.
    Networks(Networks),
    /// The report of that number, and all before it, are durable.
    ReportAck {
        /// The report's number.
        seq: u64,
    },
    /// What became of the batches of that message, in order.
    LogsAck {
        /// The message's number.
        seq: u64,
        /// One per batch.
        outcomes: Vec<LogOutcome>,
    },
    /// The answer to `Renew`.
    Renewed(JoinAnswer),
    /// The answer to `Ask`.
    Answered {
        /// The question's number.
        id: u64,
        /// What.
        answer: Answer,
    },
    /// Dial for a terminal. Sent only to agents with the capability `execute-command`, which know it.
    Open(OpenTerminal),
    /// What these tasks are given as files may have changed: ask for `Secrets`. Sent only to agents with the capability
    /// `longshore.capability.secret-files`, which know it.
    Refresh {
        /// The tasks.
        tasks: Vec<TaskArn>,
    },
    /// The session ends.
    Goodbye(Goodbye),
}

/// The answer to `Hello`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Welcome {
    /// Seconds of silence after which the agent sends `Heartbeat`. After three such intervals of silence either side
    /// takes the session for dead.
    pub heartbeat_seconds: u32,
    /// The server's clock, so that the agent can say how far its own is off.
    pub server_time: Timestamp,
    /// Whether the server answers `Ask`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub answers: bool,
}

/// All an instance shall hold, or what of it has changed. The agent refuses a set that is older than the newest it has seen.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Assignments {
    /// The server's leadership epoch, then its state revision: together they only grow.
    pub epoch: u64,
    /// See `epoch`.
    pub generation: u64,
    /// The generation of the set that this one changes: the one sent before it in the same session. None in the first, which
    /// is whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// The definitions that `tasks` name, each once.
    pub definitions: Vec<(TaskDefinitionArn, Arc<TaskDefinitionSpec>)>,
    /// In a whole set every task that has not been reported stopped; else those that are new, or are to stop now.
    pub tasks: Vec<Assignment>,
    /// Tasks of the set before that are held no more. One of these, and one in the agent's ledger that is missing in a whole
    /// set, is stopped if it runs, and forgotten once it has stopped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<TaskArn>,
    /// Images that tasks may soon be made of, the most wanted first: worth fetching while there is nothing else to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<Arc<str>>,
}

/// One task an instance shall hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Assignment {
    /// The task.
    pub task: TaskArn,
    /// Its definition.
    pub definition: TaskDefinitionArn,
    /// What its caller changed.
    pub overrides: TaskOverrides,
    /// Whether it shall run or stop.
    pub desired: Desired,
    /// Its group.
    pub group: Arc<str>,
    /// The ARN's id of each container by name.
    pub container_ids: BTreeMap<Arc<str>, Arc<str>>,
    /// The account's mode for log drivers whose options name none, when the task was assigned.
    #[serde(default)]
    pub log_mode: LogMode,
    /// Digests that containers' images are pinned to, by container: these are run, whatever the tags mean by now.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub image_digests: BTreeMap<Arc<str>, Arc<str>>,
    /// The network interface that all its containers share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<AssignedInterface>,
    /// The disk, in GiB, that its containers share and may not write beyond. Of tasks of Fargate; others share the machine's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ephemeral_storage_gib: Option<u32>,
    /// The disk of its own that one of the definition's volumes is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<AssignedVolume>,
    /// The GPUs that are its containers' own, by container.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub gpus: BTreeMap<Arc<str>, Vec<GpuId>>,
    /// How it was launched. A server that does not say so gives a disk to tasks of Fargate and to no others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launch_type: Option<LaunchType>,
}

/// A volume that was configured at launch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignedVolume {
    /// The definition's name of it.
    pub name: Arc<str>,
    /// Its size, in GiB.
    pub size_gib: u32,
}

/// The network interface of a task; who may talk to it is told with its VPC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignedInterface {
    /// Its id.
    pub id: InterfaceId,
    /// Its VPC.
    pub vpc: VpcId,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its subnet's addresses.
    pub subnet: Ipv4Net,
    /// Its MAC address.
    pub mac: Arc<str>,
    /// The resolver of its VPC, where that has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolver: Option<Ipv4Addr>,
}

/// Output of one container, in order. A batch without events opens the stream: it is made if it is missing, as it is when
/// the first event comes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LogBatch {
    /// Group.
    pub group: String,
    /// Stream; made if it is missing.
    pub stream: String,
    /// Make the group too if it is missing (`awslogs-create-group`).
    pub create_group: bool,
    /// Region of the group, if the driver's options name one other than the instance's.
    pub region: Option<String>,
    /// The source of the bytes: with the offsets it lets the store drop what it has already.
    pub producer: String,
    /// Offset of the first byte in the source.
    pub offset: u64,
    /// Offset behind the last byte.
    pub next_offset: u64,
    /// The events.
    pub events: Vec<LogEvent>,
}

/// A line of output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEvent {
    /// When the agent read it.
    pub timestamp: Timestamp,
    /// The line without its end.
    pub message: String,
    /// Offset in the source behind the line and its end. It names the line however lines were batched, so that the store
    /// knows a line it has when a batch is cut otherwise the second time.
    #[serde(default)]
    pub end: u64,
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogOutcome {
    /// Durable up to this offset.
    Accepted {
        /// Offset behind the last durable byte.
        next_offset: u64,
    },
    /// It will never be taken; the words say why.
    Refused {
        /// For people.
        message: String,
    },
}

/// The end of a session.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Goodbye {
    /// Why.
    pub code: GoodbyeCode,
    /// For people.
    pub message: String,
}

/// Why a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GoodbyeCode {
    /// The instance was deregistered: stop everything; a new token is needed to come back.
    Inactive,
    /// Another session of the same instance took over.
    Superseded,
    /// The server does not speak this version, or the machine lacks what the server asks of every machine.
    Protocol,
    /// The server stops; come back.
    ShuttingDown,
}
