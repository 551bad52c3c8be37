//! The commands and their flags. Each flag of a server or an agent can also be set by the environment variable it names, so
//! that a test harness or a unit file needs no wrapper. Secrets have no flag: they come from files or the environment.

use crate::cli::OutputArgs;
use clap::{Args, Parser, Subcommand};
use std::{net::SocketAddr, path::PathBuf};

/// Amazon ECS on machines you own.
#[derive(Debug, Parser)]
#[command(name = "longshore", version, propagate_version = true)]
pub(crate) struct Longshore {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the control plane.
    Server(ServerArgs),
    /// Run the control plane and local instances in one go; Ctrl-C takes all of it down again.
    Dev(DevArgs),
    /// Run the agent that makes this machine a container instance.
    Agent(Box<AgentArgs>),
    /// Print shell exports that point AWS clients at a server on this machine.
    Env(EnvArgs),
    /// Show clusters, instances and tasks, and what needs attention, in one screen.
    Status(crate::cli::StatusArgs),
    /// Tell how a service is, and why it is not stable; let a paused deployment go on.
    #[command(subcommand)]
    Service(crate::cli::ServiceCommand),
    /// Show VPCs, subnets and interfaces; `net why` tells whether one may talk to another, and what decides it.
    Net(crate::cli::NetArgs),
    /// Give a service a new image, wait until it runs everywhere, and go back if it fails.
    Deploy(Box<crate::cli::DeployArgs>),
    /// Run a task definition once; with --wait show its output and exit with its code.
    Run(Box<crate::cli::RunArgs>),
    /// Run a command in a container that runs, at this terminal; a shell if none is given.
    Exec(crate::cli::ExecArgs),
    /// Show what happened in a cluster: tasks, instances, services and deployments as they change.
    Events(crate::cli::EventsArgs),
    /// Tell what was used and what it costs, by cluster, service, tag or day.
    Cost(crate::cli::CostArgs),
    /// Make, list and delete the tokens with which machines join.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Check, back up and restore a server's state.
    #[command(subcommand)]
    State(StateCommand),
    /// Change the key that secrets are sealed with.
    #[command(subcommand)]
    Secrets(SecretsCommand),
    /// Print a completion script for a shell; clusters, tasks and profiles complete too.
    Completions {
        /// The shell.
        #[arg(value_parser = ["bash", "zsh", "fish"])]
        shell: String,
    },
    /// Print a page of the manual, or write all of them into a folder.
    Man {
        /// The folder.
        #[arg(long, conflicts_with = "of")]
        dir: Option<PathBuf>,
        /// The command whose page it is, such as `compose up`.
        #[arg(value_name = "COMMAND")]
        of: Vec<String>,
    },
    /// Print the version.
    Version {
        #[command(flatten)]
        output: OutputArgs,
    },
    /// What of AWS's API is served, for `cargo xtask coverage`.
    #[command(hide = true)]
    Coverage,
    #[command(flatten)]
    Ecs(crate::cli::EcsCommand),
}

/// Where a server keeps everything, unless told otherwise.
pub(crate) const DATA_DIR: &str = "/var/lib/longshore";

#[derive(Debug, Args, Clone)]
pub(crate) struct ServerArgs {
    /// Where the AWS endpoint listens; may be given more than once.
    #[arg(long, env = "LONGSHORE_LISTEN", default_value = "127.0.0.1:4566", value_delimiter = ',')]
    pub(crate) listen: Vec<SocketAddr>,
    /// Certificate chain (PEM) of the AWS endpoint; makes it HTTPS.
    #[arg(long, env = "LONGSHORE_TLS_CERT", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Key (PEM) of the AWS endpoint.
    #[arg(long, env = "LONGSHORE_TLS_KEY", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Where agents are accepted (always mutual TLS); may be given more than once.
    #[arg(long, env = "LONGSHORE_LINK_LISTEN", default_value = "127.0.0.1:4567", value_delimiter = ',')]
    pub(crate) link_listen: Vec<SocketAddr>,
    /// Where state, logs, credentials and the certificate authority are kept.
    #[arg(long, env = "LONGSHORE_DATA_DIR", default_value = DATA_DIR)]
    pub(crate) data_dir: PathBuf,
    /// The account id in ARNs.
    #[arg(long, env = "LONGSHORE_ACCOUNT_ID", default_value = server::config::DEFAULT_ACCOUNT)]
    pub(crate) account_id: String,
    /// The region `longshore env` and the operator's commands use. Requests are served for the region they are signed for.
    #[arg(long, env = "LONGSHORE_REGION", default_value = server::config::DEFAULT_REGION)]
    pub(crate) region: String,
    /// Network of the default VPC and of local instances.
    #[arg(long, env = "LONGSHORE_VPC_CIDR", default_value = "172.31.0.0/16")]
    pub(crate) vpc_cidr: ipnet::Ipv4Net,
    /// Public addresses that can be allocated; the default is a range that is nobody's.
    #[arg(long, env = "LONGSHORE_PUBLIC_POOL", default_value = "198.51.100.0/24")]
    pub(crate) public_pool: ipnet::Ipv4Net,
    /// Encrypt what instances send each other of VPCs (WireGuard); machines that cannot are refused.
    #[arg(long, env = "LONGSHORE_VPC_ENCRYPTION")]
    pub(crate) vpc_encryption: bool,
    /// How many hours a stopped task can still be described.
    #[arg(long, env = "LONGSHORE_STOPPED_TASK_HOURS", default_value_t = 720)]
    pub(crate) stopped_task_hours: u32,
    /// Let RunInstances make instances on this machine (needs root).
    #[arg(long, env = "LONGSHORE_LOCAL_INSTANCES")]
    pub(crate) local_instances: bool,
    /// The price list for `cost`; without it prices.json in the data directory, which is made with AWS's published prices.
    #[arg(long, value_name = "FILE", env = "LONGSHORE_PRICES")]
    pub(crate) prices: Option<PathBuf>,
    /// What stands for a bucket in which environment files are: NAME=DIRECTORY or NAME=URL (http, https). May be given more than
    /// once.
    #[arg(long = "bucket", value_name = "NAME=PLACE", env = "LONGSHORE_BUCKETS", value_delimiter = ',', value_parser = parse_bucket)]
    pub(crate) buckets: Vec<(String, server::Bucket)>,
    /// Where a file system of EFS is that volumes name by its id: ID=HOST:/PATH or ID=HOST:PORT:/PATH of an NFS server (version 4.1),
    /// or ID=tls://HOST[:PORT]/PATH of one that is reached over TLS. May be given more than once.
    #[arg(long = "efs", value_name = "ID=EXPORT", env = "LONGSHORE_EFS", value_delimiter = ',', value_parser = parse_efs)]
    pub(crate) file_systems: Vec<(String, model::FileSystem)>,
    /// What an access point of EFS shows: ID=FILE-SYSTEM:/FOLDER, of a file system that is reached over TLS. May be given more than once.
    #[arg(long = "efs-access-point", value_name = "ID=FOLDER", env = "LONGSHORE_EFS_ACCESS_POINTS", value_delimiter = ',', value_parser = parse_access_point)]
    pub(crate) access_points: Vec<(String, model::AccessPoint)>,
    /// Authorities (PEM) that the certificates of file systems' servers are checked against, instead of those of the machine that mounts.
    #[arg(long, value_name = "FILE", env = "LONGSHORE_EFS_CA")]
    pub(crate) efs_ca: Option<PathBuf>,
    /// A file with a passphrase that seals the keys which secrets are sealed with; without it they are a file of mode 0600.
    #[arg(long, value_name = "FILE", env = "LONGSHORE_SECRETS_PASSPHRASE_FILE")]
    pub(crate) secrets_passphrase_file: Option<PathBuf>,
    /// Seconds for which the credentials hold that tasks and instances have of their roles.
    #[arg(long, value_name = "SECONDS", env = "LONGSHORE_ROLE_CREDENTIALS_SECONDS", default_value_t = 21_600, value_parser = clap::value_parser!(u32).range(60..=43_200), hide = true)]
    pub(crate) role_credentials_seconds: u32,
    #[command(flatten)]
    pub(crate) events: WebhookArgs,
    #[command(flatten)]
    pub(crate) runtime: RuntimeArgs,
}

#[derive(Args, Clone)]
pub(crate) struct WebhookArgs {
    /// Post state changes to this URL too, in batches and at least once. One that holds a secret is better set by the
    /// environment, where other users do not see it.
    #[arg(long = "events-webhook", value_name = "URL", env = "LONGSHORE_EVENTS_WEBHOOK", hide_env_values = true)]
    pub(crate) url: Option<String>,
    /// A file with the secret that those requests are signed with (HMAC-SHA256).
    #[arg(
        long = "events-webhook-secret-file",
        value_name = "FILE",
        env = "LONGSHORE_EVENTS_WEBHOOK_SECRET_FILE",
        requires = "url"
    )]
    pub(crate) secret_file: Option<PathBuf>,
    /// Authorities (PEM) that an https:// receiver is checked against instead of the system's.
    #[arg(long = "events-webhook-ca", value_name = "FILE", env = "LONGSHORE_EVENTS_WEBHOOK_CA", requires = "url")]
    pub(crate) ca_bundle: Option<PathBuf>,
}

impl std::fmt::Debug for WebhookArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhookArgs").field("secret_file", &self.secret_file).finish_non_exhaustive()
    }
}

#[derive(Debug, Args, Clone)]
pub(crate) struct RuntimeArgs {
    /// A containerd to use; without it one is started from a configuration of our own.
    #[arg(long, env = "LONGSHORE_CONTAINERD_SOCKET")]
    pub(crate) containerd_socket: Option<PathBuf>,
    /// A registry (host[:port]) that may be spoken to in plain HTTP; may be given more than once. Loopback ones always may.
    #[arg(long = "insecure-registry", env = "LONGSHORE_INSECURE_REGISTRIES", value_delimiter = ',')]
    pub(crate) insecure_registries: Vec<String>,
    /// Ask another registry for the images of one: REGISTRY=MIRROR, as in docker.io=mirror.example:5000. The images keep their
    /// names. May be given more than once.
    #[arg(
        long = "registry-mirror",
        value_name = "REGISTRY=MIRROR",
        env = "LONGSHORE_REGISTRY_MIRRORS",
        value_delimiter = ','
    )]
    pub(crate) registry_mirrors: Vec<runtime::image::Mirror>,
    /// What makes containers: runc, or runsc (gVisor), which gives each a kernel of its own. If none is named it is runc; for
    /// a machine given to Fargate runsc, where a version of it is installed that does not break programs, and no --userns-remap asked for.
    #[arg(long = "runtime", value_name = "RUNTIME", env = "LONGSHORE_RUNTIME")]
    pub(crate) oci_runtime: Option<runtime::OciRuntime>,
    /// Give containers users of their own (user namespaces), so that root in one is nobody on the machine: default (the ranges that
    /// /etc/subuid and /etc/subgid list for dockremap), USER[:GROUP] as listed there, or a range FIRST-LAST.
    #[arg(long = "userns-remap", value_name = "RANGE", env = "LONGSHORE_USERNS_REMAP")]
    pub(crate) userns_remap: Option<String>,
    /// A docker config.json with credentials for registries.
    #[arg(long, env = "LONGSHORE_REGISTRY_AUTH")]
    pub(crate) registry_auth: Option<PathBuf>,
}

impl RuntimeArgs {
    /// Which numbers of the machine the users of containers have, if not their own.
    pub(crate) fn userns(&self) -> anyhow::Result<Option<runtime::IdMapping>> {
        let Some(text) = &self.userns_remap else { return Ok(None) };
        anyhow::ensure!(
            self.oci_runtime != Some(runtime::OciRuntime::Runsc),
            "--userns-remap is for containers of runc: those of gVisor run on a kernel of their own already"
        );
        text.parse().map(Some).map_err(|error| anyhow::anyhow!("--userns-remap: {error}"))
    }
}

#[derive(Debug, Args, Clone)]
pub(crate) struct DevArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// How many local instances to run, spread over the zones.
    #[arg(long, default_value_t = 3)]
    pub(crate) instances: u32,
    /// Their type.
    #[arg(long, default_value = "t3.medium")]
    pub(crate) instance_type: String,
    /// The cluster they join.
    #[arg(long, default_value = "default")]
    pub(crate) cluster: String,
    /// How many more of them are given to Fargate: tasks of launch type FARGATE run there, and no cluster shows them.
    #[arg(long, env = "LONGSHORE_FARGATE_INSTANCES", default_value_t = 1)]
    pub(crate) fargate_instances: u32,
    /// Leave instances and tasks running when the server ends; the next `dev` finds them.
    #[arg(long)]
    pub(crate) keep: bool,
}

#[derive(Debug, Args, Clone)]
pub(crate) struct AgentArgs {
    /// The server's link, host:port.
    #[arg(long, env = "LONGSHORE_SERVER", default_value = "127.0.0.1:4567")]
    pub(crate) server: String,
    /// The cluster to join; what the token says wins.
    #[arg(long, env = "ECS_CLUSTER")]
    pub(crate) cluster: Option<String>,
    /// Give the machine to Fargate instead: it is in no cluster that clients see, and tasks of all of them may be placed there.
    /// Needs its zone too: --attribute ecs.availability-zone=ZONE.
    #[arg(long, env = "LONGSHORE_FARGATE", conflicts_with = "cluster", requires = "address")]
    pub(crate) fargate: bool,
    /// A file with the join token. Without it the environment variable LONGSHORE_JOIN_TOKEN is used. Only needed once.
    #[arg(long, env = "LONGSHORE_JOIN_TOKEN_FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Where the agent keeps its identity, ledger and logs.
    #[arg(long, env = "LONGSHORE_AGENT_DATA_DIR", default_value = "/var/lib/longshore-agent")]
    pub(crate) data_dir: PathBuf,
    /// Where what does not survive a reboot is kept.
    #[arg(long, default_value = "/run/longshore-agent")]
    pub(crate) run_dir: PathBuf,
    #[command(flatten)]
    pub(crate) runtime: RuntimeArgs,
    /// Whether registries are asked for images that are here: each time and else the copy (default), each time (always), or
    /// not while there is a copy (prefer-cached, once).
    #[arg(long, env = "ECS_IMAGE_PULL_BEHAVIOR", default_value = "default",
          value_parser = ["default", "always", "once", "prefer-cached"])]
    pub(crate) image_pull_behavior: String,
    /// How long a registry may send nothing, or less than a kilobyte a second, before a pull fails: 90s, 10m.
    #[arg(long, env = "ECS_IMAGE_PULL_INACTIVITY_TIMEOUT", default_value = "1m", value_parser = parse_duration)]
    pub(crate) image_pull_inactivity_timeout: std::time::Duration,
    /// How often a task may ask for its metadata, a second and at once.
    #[arg(long, env = "ECS_TASK_METADATA_RPS_LIMIT", default_value = "40,60")]
    pub(crate) task_metadata_rps_limit: agent::metadata::Rate,
    /// An address at which this machine's published ports can be reached.
    #[arg(long, env = "LONGSHORE_ADDRESS")]
    pub(crate) address: Option<std::net::IpAddr>,
    /// An attribute to register, name=value; may be given more than once.
    #[arg(long = "attribute", value_parser = parse_attribute)]
    pub(crate) attributes: Vec<(String, Option<String>)>,
    /// A GPU of this machine that tasks may have, with its device nodes: ID=DEVICE[,DEVICE...]; may be given more than once. Its id
    /// is what NVIDIA_VISIBLE_DEVICES lists. Nodes that several GPUs share are named with each.
    #[arg(long = "gpu", value_name = "ID=DEVICES", value_parser = agent::gpus::parse, conflicts_with = "fargate")]
    pub(crate) gpus: Vec<(model::GpuId, Vec<PathBuf>)>,
    /// MiB of memory that tasks must leave alone.
    #[arg(long, env = "ECS_RESERVED_MEMORY", default_value_t = 0)]
    pub(crate) reserved_memory: u32,
    /// Network of containers in bridge mode, written with its gateway, such as 172.17.0.1/16.
    #[arg(long)]
    pub(crate) task_cidr: Option<ipnet::Ipv4Net>,
    /// The cgroup that holds agent and containers.
    #[arg(long, default_value = "/longshore-agent")]
    pub(crate) cgroup: String,
    /// Where introspection answers.
    #[arg(long, default_value = "127.0.0.1:51678")]
    pub(crate) introspection: SocketAddr,
    /// Enter this network namespace first; registries are still reached from the one we came from.
    #[arg(long, hide = true)]
    pub(crate) netns: Option<PathBuf>,
    /// Keep tasks of mode awsvpc from the instance metadata service.
    #[arg(long, env = "ECS_AWSVPC_BLOCK_IMDS")]
    pub(crate) awsvpc_block_imds: bool,
    /// What the instance metadata service tells, as the host of a local instance has written it.
    #[arg(long, hide = true)]
    pub(crate) instance_metadata: Option<PathBuf>,
    /// Register as this instance type, with its vCPU and memory.
    #[arg(long, hide = true)]
    pub(crate) instance_type: Option<String>,
}

pub(crate) fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    let duration = text.parse::<jiff::SignedDuration>().map_err(|error| error.to_string())?;
    let duration = std::time::Duration::try_from(duration).map_err(|_| "it is before its beginning".to_owned())?;
    if duration.is_zero() { Err("it must be longer than nothing".to_owned()) } else { Ok(duration) }
}

fn parse_bucket(text: &str) -> Result<(String, server::Bucket), String> {
    let (name, place) = text.split_once('=').ok_or("it must be NAME=PLACE")?;
    Ok((name.to_owned(), place.parse()?))
}

fn parse_efs(text: &str) -> Result<(String, model::FileSystem), String> {
    let (id, place) = text.split_once('=').ok_or("it must be ID=HOST:/PATH or ID=tls://HOST/PATH")?;
    if !model::is_file_system_id(id) {
        return Err(format!("'{id}' is not the ID of a file system: fs- and 8 to 40 of 0-9 and a-f"));
    }
    Ok((id.to_owned(), place.parse()?))
}

fn parse_access_point(text: &str) -> Result<(String, model::AccessPoint), String> {
    let (id, place) = text.split_once('=').ok_or("it must be ID=FILE-SYSTEM:/FOLDER")?;
    if !model::is_access_point_id(id) {
        return Err(format!("'{id}' is not the ID of an access point: fsap- and 8 to 40 of 0-9 and a-f"));
    }
    Ok((id.to_owned(), place.parse()?))
}

fn parse_attribute(text: &str) -> Result<(String, Option<String>), String> {
    let (name, value) = text.split_once('=').map_or((text, None), |(n, v)| (n, Some(v)));
    let value = value.filter(|v| !v.is_empty()).map(str::to_owned);
    let attribute = model::Attribute { name: name.to_owned(), value };
    attribute.check()?;
    Ok((attribute.name, attribute.value))
}

#[derive(Debug, Args, Clone)]
pub(crate) struct EnvArgs {
    /// The server's data directory.
    #[arg(long, env = "LONGSHORE_DATA_DIR", default_value = DATA_DIR)]
    pub(crate) data_dir: PathBuf,
    /// The endpoint to print; if none is named, where the server listens.
    #[arg(long, env = "LONGSHORE_ENDPOINT")]
    pub(crate) endpoint: Option<String>,
    /// Where the server was told to listen.
    #[arg(long, env = "LONGSHORE_LISTEN", default_value = "127.0.0.1:4566", value_delimiter = ',')]
    pub(crate) listen: Vec<SocketAddr>,
    /// The certificate chain that the server was given, which makes the endpoint HTTPS.
    #[arg(long, env = "LONGSHORE_TLS_CERT")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The region to print.
    #[arg(long, env = "LONGSHORE_REGION", default_value = server::config::DEFAULT_REGION)]
    pub(crate) region: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token; it is printed once and kept only as a digest.
    Create {
        /// Let it join this cluster only.
        #[arg(long)]
        cluster: Option<String>,
        /// How many hours it works.
        #[arg(long, default_value_t = 1)]
        hours: u32,
        /// How many machines may join with it.
        #[arg(long, default_value_t = 1)]
        machines: i32,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// List tokens.
    List {
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Delete a token; machines that joined stay.
    Delete {
        /// Its activation id.
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SecretsCommand {
    /// Make a new key and seal all secrets with it; the older ones go. The server may go on running, and may be killed.
    RotateKey {
        /// The server's data directory.
        #[arg(long, env = "LONGSHORE_DATA_DIR", default_value = DATA_DIR)]
        data_dir: PathBuf,
        /// The file with the passphrase that the server was given, if it was.
        #[arg(long, value_name = "FILE", env = "LONGSHORE_SECRETS_PASSPHRASE_FILE")]
        passphrase_file: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum StateCommand {
    /// Read a server's whole state and its logs and prove that they are whole. The server may go on running; logs are
    /// checked when it does not. Exits with 0 if all is sound, 1 if something is wrong, 2 if it could not be checked.
    Check {
        /// The server's data directory.
        #[arg(long, env = "LONGSHORE_DATA_DIR", default_value = DATA_DIR)]
        data_dir: PathBuf,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Copy the state of a running or stopped server to a file.
    Backup {
        /// The server's data directory.
        #[arg(long, env = "LONGSHORE_DATA_DIR", default_value = DATA_DIR)]
        data_dir: PathBuf,
        /// The file to write; it must not exist.
        to: PathBuf,
    },
    /// Put a backup in the place of a stopped server's state.
    Restore {
        /// The server's data directory.
        #[arg(long, env = "LONGSHORE_DATA_DIR", default_value = DATA_DIR)]
        data_dir: PathBuf,
        /// Replace the state that is there.
        #[arg(long)]
        force: bool,
        /// The backup.
        from: PathBuf,
    },
}
