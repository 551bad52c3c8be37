//! A task's log router (FireLens): its configuration, made of what the other containers' log options say, and the folder with the
//! socket at which it takes their output. Sections, names and order are the original agent's (ecs-agent
//! `taskresource/firelens`), so that what people have read about it holds here.

use crate::{
    files::{self, Durable, Mode},
    node::Failure,
    plan::{Job, TaskPlan},
};
use ::runtime::{BindMount, OciRuntime, tree};
use model::{ContainerDefinition, Firelens, FirelensType, LogDriver, NetworkMode, RouterConfig, logging::BUFFER_LIMIT};
use std::{collections::HashSet, fs, io, path::PathBuf, sync::Arc};
use telemetry::driver::Router;

/// The socket, as the router sees it.
const SOCKET: &str = "/var/run/fluent.sock";
/// The forward protocol's port, at which the router listens beside the socket.
pub(super) const PORT: u16 = Router::PORT;
/// Options of `awsfirelens` that are filters and no part of an output section.
const INCLUDE: &str = "include-pattern";
const EXCLUDE: &str = "exclude-pattern";

/// Where routers' folders are.
#[derive(Clone)]
pub(super) struct Routers {
    dir: PathBuf,
    oci_runtime: OciRuntime,
}

impl Routers {
    pub(super) fn new(dir: PathBuf, oci_runtime: OciRuntime) -> Self {
        Self { dir, oci_runtime }
    }

    /// Whether output comes by the router's port: what containers make as sockets in a sandbox's files nobody outside sees.
    fn by_port(&self) -> bool {
        match self.oci_runtime {
            OciRuntime::Runc => false,
            OciRuntime::Runsc => true,
        }
    }

    fn folder(&self, task: &TaskPlan) -> PathBuf {
        self.dir.join(task.id())
    }

    /// The way to a task's router, which is in that network. One that has none of its own is never looked for at a port, where anybody
    /// of the instance may listen; it is one that runc made, before the setting changed.
    pub(super) fn way(&self, task: &TaskPlan, netns: PathBuf) -> Router {
        if self.by_port() && task.mode() != NetworkMode::Host {
            return Router::Network(netns);
        }
        Router::Socket(self.folder(task).join("socket/fluent.sock").display().to_string())
    }

    /// What a router is shown; nothing if the container is none. `more` is configuration from elsewhere.
    pub(super) fn mounts(
        &self,
        job: &Job,
        instance: Option<&str>,
        more: Option<&str>,
    ) -> Result<Vec<BindMount>, Failure> {
        let Some(firelens) = &job.container().firelens else { return Ok(Vec::new()) };
        let failed = |why: String| {
            Failure::new("ResourceInitializationError", format_args!("unable to create log router: {why}"))
        };
        let text = config(&job.task, job.container(), firelens, instance, self.by_port()).map_err(failed)?;
        self.write(job, firelens, &text, more).map_err(|error| failed(error.to_string()))
    }

    fn write(&self, job: &Job, firelens: &Firelens, text: &str, more: Option<&str>) -> io::Result<Vec<BindMount>> {
        let folder = self.folder(&job.task);
        let (config, socket) = (folder.join("config"), folder.join("socket"));
        files::folder(&folder)?;
        fs::create_dir_all(&config)?;
        fs::create_dir_all(&socket)?;
        let place = |name: &str, target: &str, text: &str, mode: Mode| {
            let source = config.join(name);
            files::write(&source, text.as_bytes(), mode, Durable::ProcessDeath)?;
            io::Result::Ok(BindMount { source, target: target.to_owned(), read_only: true, fill: None, as_is: false })
        };
        let at = Targets::of(firelens.kind);
        let mut mounts = vec![place("fluent.conf", at.config, text, Mode::Public)?];
        if let Some(more) = more {
            // The router is root; nobody else has to know what it says, and the server does not tell it again.
            mounts.push(place("external.conf", at.external, more, Mode::Private)?);
        }
        mounts.push(BindMount {
            source: socket,
            target: "/var/run".to_owned(),
            read_only: false,
            fill: None,
            as_is: false,
        });
        Ok(mounts)
    }

    /// Removes what a task's router had.
    pub(super) async fn remove(&self, task: &TaskPlan) -> Result<(), Failure> {
        if task.router().is_none() {
            return Ok(());
        }
        let folder = self.folder(task);
        let removed =
            tokio::task::spawn_blocking(move || tree::remove(&folder)).await.expect("removing does not panic");
        removed.map_err(|e| Failure::new("CannotRemoveContainerError", format_args!("the task's log router: {e}")))
    }

    /// Removes what former runs have left of tasks that are none of these.
    pub(super) fn adopt<'a>(&self, tasks: impl Iterator<Item = &'a Arc<TaskPlan>>) -> io::Result<()> {
        let known: HashSet<_> = tasks.map(|task| task.id().to_owned()).collect();
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            if !known.contains(&*entry.file_name().to_string_lossy()) {
                tree::remove(&entry.path())?;
            }
        }
        Ok(())
    }
}

/// Where a router finds its configuration.
struct Targets {
    config: &'static str,
    external: &'static str,
}

impl Targets {
    fn of(kind: FirelensType) -> Self {
        match kind {
            FirelensType::Fluentbit => {
                Self { config: "/fluent-bit/etc/fluent-bit.conf", external: "/fluent-bit/etc/external.conf" }
            }
            FirelensType::Fluentd => {
                Self { config: "/fluentd/etc/fluent.conf", external: "/fluentd/etc/external.conf" }
            }
        }
    }
}

/// The variable of the router that has a secret option of the container at that position.
pub(super) fn secret_variable(option: &str, at: usize) -> String {
    format!("{option}_{at}")
}

/// The containers whose output the router takes, with their options.
fn routed(task: &TaskPlan) -> impl Iterator<Item = (usize, &ContainerDefinition)> {
    task.containers.iter().enumerate().filter(|(_, container)| container.is_routed())
}

fn config(
    task: &TaskPlan,
    router: &ContainerDefinition,
    firelens: &Firelens,
    instance: Option<&str>,
    by_port: bool,
) -> Result<String, String> {
    let mut out = match firelens.kind {
        FirelensType::Fluentbit => Config { text: String::new(), fluentbit: true },
        FirelensType::Fluentd => Config { text: String::new(), fluentbit: false },
    };
    let listen = match task.mode() {
        NetworkMode::Bridge => Some("0.0.0.0"),
        NetworkMode::Awsvpc => Some("127.0.0.1"),
        // AWS: there the socket alone, since the port would be the instance's.
        NetworkMode::Host | NetworkMode::None => None,
    };
    if by_port && listen.is_none() {
        return Err("under the runtime runsc (gVisor) it takes output at a port of its own network, which it has in the network \
                    modes awsvpc and bridge"
            .to_owned());
    }
    out.inputs(listen, router.memory.map(|memory| memory.0), by_port);
    for (_, container) in routed(task) {
        out.filters(container);
    }
    if firelens.tells_metadata() {
        out.metadata(task, instance);
    }
    match firelens.config() {
        Some(RouterConfig::File(path)) => out.include(&path),
        Some(RouterConfig::S3(_)) => out.include(Targets::of(firelens.kind).external),
        None => {}
    }
    if out.fluentbit && listen.is_some() {
        out.section("OUTPUT", "null", &[("Match".to_owned(), "firelens-healthcheck".to_owned())]);
    }
    for (at, container) in routed(task) {
        out.output(at, container)?;
    }
    Ok(out.text)
}

struct Config {
    text: String,
    fluentbit: bool,
}

impl Config {
    /// A section of Fluent Bit's form.
    fn section(&mut self, kind: &str, name: &str, lines: &[(String, String)]) {
        self.text.push_str(&format!("[{kind}]\n    Name {name}\n"));
        for (key, value) in lines {
            self.text.push_str(&format!("    {key} {value}\n"));
        }
        self.text.push('\n');
    }

    /// A block of Fluentd's form; what is in it is indented already.
    fn block(&mut self, head: &str, lines: &[String]) {
        let name = head.split(' ').next().unwrap_or(head);
        self.text.push_str(&format!("<{head}>\n"));
        for line in lines {
            self.text.push_str(&format!("    {line}\n"));
        }
        self.text.push_str(&format!("</{name}>\n\n"));
    }

    /// Most output comes to the port instead of the socket, if it does so `by_port`.
    fn inputs(&mut self, listen: Option<&str>, memory: Option<u32>, by_port: bool) {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        if !self.fluentbit {
            self.block("source", &["@type unix".to_owned(), format!("path {SOCKET}")]);
            if let Some(listen) = listen {
                self.block("source", &["@type forward".to_owned(), format!("bind {listen}"), format!("port {PORT}")]);
            }
            return;
        }
        // AWS: half of what the router may have.
        let limit = memory.map(|memory| pair("Mem_Buf_Limit", &format!("{}MB", (memory / 2).max(1))));
        let mut socket = vec![pair("unix_path", SOCKET)];
        socket.extend(limit.clone());
        self.section("INPUT", "forward", &socket);
        if let Some(listen) = listen {
            let mut port = vec![pair("Listen", listen), pair("Port", &PORT.to_string())];
            port.extend(limit.filter(|_| by_port));
            self.section("INPUT", "forward", &port);
            let health = [pair("Tag", "firelens-healthcheck"), pair("Listen", "127.0.0.1"), pair("Port", "8877")];
            self.section("INPUT", "tcp", &health);
        }
    }

    /// What a container's output is matched by.
    fn matching(&self, container: &ContainerDefinition) -> String {
        format!("{}-firelens{}", container.name, if self.fluentbit { "*" } else { "**" })
    }

    fn options(container: &ContainerDefinition) -> impl Iterator<Item = (&String, &String)> {
        container
            .log_configuration
            .iter()
            .filter(|log| log.driver == LogDriver::Awsfirelens)
            .flat_map(|log| &log.options)
    }

    fn filters(&mut self, container: &ContainerDefinition) {
        for (option, value) in Self::options(container) {
            let (fluentbit, fluentd) = match option.as_str() {
                INCLUDE => ("Regex", "regexp"),
                EXCLUDE => ("Exclude", "exclude"),
                _ => continue,
            };
            let matching = self.matching(container);
            if self.fluentbit {
                self.section(
                    "FILTER",
                    "grep",
                    &[("Match".to_owned(), matching), (fluentbit.to_owned(), format!("log {value}"))],
                );
            } else {
                let lines = [
                    "@type grep".to_owned(),
                    format!("<{fluentd}>"),
                    "    key log".to_owned(),
                    format!("    pattern {value}"),
                    format!("</{fluentd}>"),
                ];
                self.block(&format!("filter {matching}"), &lines);
            }
        }
    }

    fn metadata(&mut self, task: &TaskPlan, instance: Option<&str>) {
        let assignment = &task.assignment;
        let definition = format!("{}:{}", assignment.definition.family, assignment.definition.revision);
        let mut facts = vec![
            ("ecs_cluster", assignment.task.cluster.name.to_string()),
            ("ecs_task_arn", assignment.task.to_string()),
            ("ecs_task_definition", definition),
        ];
        if let Some(instance) = instance {
            facts.insert(0, ("ec2_instance_id", instance.to_owned()));
        }
        if self.fluentbit {
            let record = |(name, value): (&str, String)| ("Record".to_owned(), format!("{name} {value}"));
            let all = ("Match".to_owned(), "*".to_owned());
            let lines: Vec<_> = std::iter::once(all).chain(facts.into_iter().map(record)).collect();
            self.section("FILTER", "record_modifier", &lines);
        } else {
            let mut lines = vec!["@type record_transformer".to_owned(), "<record>".to_owned()];
            lines.extend(facts.into_iter().map(|(name, value)| format!("    {name} {value}")));
            lines.push("</record>".to_owned());
            self.block("filter **", &lines);
        }
    }

    fn include(&mut self, path: &str) {
        let word = if self.fluentbit { "@INCLUDE" } else { "@include" };
        self.text.push_str(&format!("{word} {path}\n\n"));
    }

    fn output(&mut self, at: usize, container: &ContainerDefinition) -> Result<(), String> {
        let kind = if self.fluentbit { "Name" } else { "@type" };
        let is_kind = |option: &str| if self.fluentbit { option.eq_ignore_ascii_case(kind) } else { option == kind };
        let given: Vec<_> = Self::options(container)
            .filter(|(option, _)| ![INCLUDE, EXCLUDE, BUFFER_LIMIT].contains(&option.as_str()))
            .map(|(option, value)| (option.clone(), value.clone()))
            .collect();
        let secrets = container.log_configuration.iter().flat_map(|log| &log.secret_options).map(|secret| {
            let variable = secret_variable(&secret.name, at);
            let value = if self.fluentbit { format!("${{{variable}}}") } else { format!("\"#{{ENV['{variable}']}}\"") };
            (secret.name.clone(), value)
        });
        let all: Vec<_> = given.into_iter().chain(secrets).collect();
        let Some((_, name)) = all.iter().find(|(option, _)| is_kind(option)) else {
            // AWS: without options there is no section, and more configuration says what becomes of the output.
            if all.is_empty() {
                return Ok(());
            }
            return Err(format!(
                "unable to apply log options of container {} to firelens config: missing output option {kind} which is \
                 required for firelens configuration of type {}",
                container.name,
                if self.fluentbit { "fluentbit" } else { "fluentd" }
            ));
        };
        let name = name.clone();
        let matching = self.matching(container);
        let others = all.iter().filter(|(option, _)| !is_kind(option));
        if self.fluentbit {
            let lines: Vec<_> = std::iter::once(("Match".to_owned(), matching)).chain(others.cloned()).collect();
            self.section("OUTPUT", &name, &lines);
        } else {
            let lines: Vec<_> = std::iter::once(format!("@type {name}"))
                .chain(others.map(|(option, value)| format!("{option} {value}")))
                .collect();
            self.block(&format!("match {matching}"), &lines);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use model::{ContainerSecret, LogConfiguration, MemoryMib};
    use std::{collections::BTreeMap, path::Path};

    fn plan(kind: FirelensType, mode: NetworkMode, options: &[(&str, &str)], more: &[(&str, &str)]) -> TaskPlan {
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let (assignment, definition) = testing::assignment(1, &["app", "router"]);
        let mut definition = (*definition).clone();
        definition.network_mode = Some(mode);
        let secret = ContainerSecret { name: "apiKey".into(), value_from: "/key".into() };
        definition.containers[0].log_configuration = Some(LogConfiguration {
            driver: LogDriver::Awsfirelens,
            options: map(options),
            secret_options: vec![secret],
        });
        definition.containers[1].firelens = Some(Firelens { kind, options: map(more) });
        definition.containers[1].memory = Some(MemoryMib(100));
        TaskPlan::new(assignment, Arc::new(definition))
    }

    fn text(plan: &TaskPlan) -> Result<String, String> {
        text_by(plan, false)
    }

    fn text_by(plan: &TaskPlan, port: bool) -> Result<String, String> {
        let router = &plan.containers[1];
        config(plan, router, router.firelens.as_ref().unwrap(), Some("i-1"), port)
    }

    #[test]
    fn fluent_bits_configuration() {
        let options = [
            ("Name", "http"),
            ("Host", "logs.test"),
            ("include-pattern", "fail"),
            ("exclude-pattern", "ok"),
            ("log-driver-buffer-limit", "2048"),
        ];
        let more = [("config-file-type", "file"), ("config-file-value", "/extra.conf")];
        let plan = plan(FirelensType::Fluentbit, NetworkMode::Awsvpc, &options, &more);
        let want = format!(
            "[INPUT]\n    Name forward\n    unix_path /var/run/fluent.sock\n    Mem_Buf_Limit 50MB\n\n\
             [INPUT]\n    Name forward\n    Listen 127.0.0.1\n    Port 24224\n\n\
             [INPUT]\n    Name tcp\n    Tag firelens-healthcheck\n    Listen 127.0.0.1\n    Port 8877\n\n\
             [FILTER]\n    Name grep\n    Match app-firelens*\n    Exclude log ok\n\n\
             [FILTER]\n    Name grep\n    Match app-firelens*\n    Regex log fail\n\n\
             [FILTER]\n    Name record_modifier\n    Match *\n    Record ec2_instance_id i-1\n    Record ecs_cluster demo\n    \
             Record ecs_task_arn {}\n    Record ecs_task_definition web:3\n\n\
             @INCLUDE /extra.conf\n\n\
             [OUTPUT]\n    Name null\n    Match firelens-healthcheck\n\n\
             [OUTPUT]\n    Name http\n    Match app-firelens*\n    Host logs.test\n    apiKey ${{apiKey_0}}\n\n",
            plan.assignment.task
        );
        assert_eq!(text(&plan).unwrap(), want);
        // What comes by the port is bounded as what comes by the socket.
        let want = want.replace("Port 24224\n", "Port 24224\n    Mem_Buf_Limit 50MB\n");
        assert_eq!(text_by(&plan, true).unwrap(), want);
    }

    #[test]
    fn fluentds_configuration() {
        let options = [("@type", "stdout"), ("exclude-pattern", "ok")];
        let plan = plan(FirelensType::Fluentd, NetworkMode::Bridge, &options, &[("enable-ecs-log-metadata", "false")]);
        let want = "<source>\n    @type unix\n    path /var/run/fluent.sock\n</source>\n\n\
                    <source>\n    @type forward\n    bind 0.0.0.0\n    port 24224\n</source>\n\n\
                    <filter app-firelens**>\n    @type grep\n    <exclude>\n        key log\n        pattern ok\n    \
                    </exclude>\n</filter>\n\n\
                    <match app-firelens**>\n    @type stdout\n    apiKey \"#{ENV['apiKey_0']}\"\n</match>\n\n";
        assert_eq!(text(&plan).unwrap(), want);
        assert_eq!(text_by(&plan, true).unwrap(), want);
    }

    #[test]
    fn a_router_that_takes_output_by_its_port_needs_one() {
        let plan = |mode| plan(FirelensType::Fluentbit, mode, &[("Name", "stdout")], &[]);
        assert!(text(&plan(NetworkMode::Host)).is_ok());
        assert!(text_by(&plan(NetworkMode::Host), true).unwrap_err().contains("modes awsvpc and bridge"));
    }

    #[test]
    fn an_output_needs_a_name() {
        let plan = plan(FirelensType::Fluentbit, NetworkMode::Host, &[("Host", "x")], &[]);
        assert!(text(&plan).unwrap_err().contains("missing output option Name"));
    }

    #[test]
    fn a_router_is_shown_its_files_and_the_folder_of_its_socket() {
        let dir = tempfile::tempdir().unwrap();
        let routers = Routers::new(dir.path().join("routers"), OciRuntime::Runc);
        let more = [("config-file-type", "s3"), ("config-file-value", "arn:aws:s3:::b/x.conf")];
        let plan = Arc::new(plan(FirelensType::Fluentbit, NetworkMode::Bridge, &[("Name", "stdout")], &more));
        let state = plan.fresh();
        assert!(routers.mounts(&plan.job(0, &state.containers[0]), None, None).unwrap().is_empty());
        let mounts = routers.mounts(&plan.job(1, &state.containers[1]), None, Some("[SERVICE]")).unwrap();
        let targets: Vec<_> = mounts.iter().map(|mount| mount.target.as_str()).collect();
        assert_eq!(targets, ["/fluent-bit/etc/fluent-bit.conf", "/fluent-bit/etc/external.conf", "/var/run"]);
        assert!(fs::read_to_string(&mounts[0].source).unwrap().contains("@INCLUDE /fluent-bit/etc/external.conf"));
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&mounts[1].source).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600, "nobody else reads what came from elsewhere");
        let Router::Socket(socket) = routers.way(&plan, "/netns".into()) else { panic!("runc shares its files") };
        assert!(Path::new(&socket).parent().unwrap().is_dir());
        let sandboxed = Routers::new(dir.path().join("routers"), OciRuntime::Runsc);
        assert_eq!(sandboxed.way(&plan, "/netns".into()), Router::Network("/netns".into()));
        let in_host = self::plan(FirelensType::Fluentbit, NetworkMode::Host, &[("Name", "stdout")], &[]);
        assert!(matches!(sandboxed.way(&in_host, "/netns".into()), Router::Socket(_)));
        routers.adopt([&plan].into_iter()).unwrap();
        assert!(mounts[0].source.exists());
        routers.adopt(std::iter::empty()).unwrap();
        assert!(!mounts[0].source.exists());
    }
}
