//! `--enable-service-discovery`: names for a service's tasks, by Cloud Map. The original keeps what it made in two CloudFormation
//! stacks; here the tag [`MADE_FOR`] on namespace and service says whose they are.

use super::super::params::{DnsConfig, HealthThreshold, Params, ServiceDiscovery};
use crate::{advice::Advice, cli::config::Settings, cli::say};
use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use shapes::{ecs, servicediscovery as sd};
use std::time::Duration;

/// The tag that says for which ECS service `compose service` made it: `CLUSTER/SERVICE`.
const MADE_FOR: &str = "longshore:made-for";
/// AWS: seconds that an answer of DNS is good for, if not said.
const DNS_TTL: i64 = 60;
/// AWS: how many times it asks whether a deleted service's instances are gone, and how long it waits in between.
const ASKED: u32 = 5;
const BETWEEN: Duration = Duration::from_secs(2);

/// The original's flags. Each stands above what `ecs-params.yml` says under `run_params.service_discovery`.
#[derive(Debug, Args, Default)]
#[group(id = "discovery")]
pub(in super::super) struct DiscoveryArgs {
    /// Give the service's tasks names by Cloud Map.
    #[arg(long)]
    enable_service_discovery: bool,
    /// The VPC of a private namespace that is to be made.
    #[arg(long)]
    vpc: Option<String>,
    /// The name of a private namespace; it is made if it is not there.
    #[arg(long)]
    private_dns_namespace: Option<String>,
    /// The id of a private namespace.
    #[arg(long)]
    private_dns_namespace_id: Option<String>,
    /// The name of a public namespace that is there.
    #[arg(long)]
    public_dns_namespace: Option<String>,
    /// The id of a public namespace.
    #[arg(long)]
    public_dns_namespace_id: Option<String>,
    /// The container that SRV records are for.
    #[arg(long)]
    sd_container_name: Option<String>,
    /// Its port.
    #[arg(long)]
    sd_container_port: Option<i32>,
    /// For how many seconds an answer of DNS is good; 60 if not given.
    #[arg(long)]
    dns_ttl: Option<i64>,
    /// A for addresses (tasks of mode awsvpc), SRV for addresses and ports.
    #[arg(long, value_parser = ["A", "SRV"])]
    dns_type: Option<String>,
    /// Kept and shown; one report is enough for a task to be unhealthy.
    #[arg(long)]
    healthcheck_custom_config_failure_threshold: Option<i32>,
}

impl DiscoveryArgs {
    /// What is said of discovery besides that there shall be some.
    fn details(&self) -> impl Iterator<Item = &'static str> {
        let given = [
            ("--vpc", self.vpc.is_some()),
            ("--private-dns-namespace", self.private_dns_namespace.is_some()),
            ("--private-dns-namespace-id", self.private_dns_namespace_id.is_some()),
            ("--public-dns-namespace", self.public_dns_namespace.is_some()),
            ("--public-dns-namespace-id", self.public_dns_namespace_id.is_some()),
            ("--sd-container-name", self.sd_container_name.is_some()),
            ("--sd-container-port", self.sd_container_port.is_some()),
            ("--dns-ttl", self.dns_ttl.is_some()),
            ("--dns-type", self.dns_type.is_some()),
            (
                "--healthcheck-custom-config-failure-threshold",
                self.healthcheck_custom_config_failure_threshold.is_some(),
            ),
        ];
        given.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag)
    }

    /// Lays the flags over the file's words.
    fn over(&self, file: &ServiceDiscovery) -> ServiceDiscovery {
        let mut all = file.clone();
        // Who names a namespace means that one, whichever the file names.
        let flags = [
            (&self.private_dns_namespace, &mut all.private_dns_namespace.name),
            (&self.private_dns_namespace_id, &mut all.private_dns_namespace.id),
            (&self.public_dns_namespace, &mut all.public_dns_namespace.name),
            (&self.public_dns_namespace_id, &mut all.public_dns_namespace.id),
        ];
        if flags.iter().any(|(flag, _)| flag.is_some()) {
            for (flag, file) in flags {
                file.clone_from(flag);
            }
        }
        let service = &mut all.service_discovery_service;
        let over = |flag: &Option<String>, file: &mut Option<String>| *file = flag.clone().or(file.take());
        over(&self.vpc, &mut all.private_dns_namespace.vpc);
        over(&self.sd_container_name, &mut all.container_name);
        over(&self.dns_type, &mut service.dns_config.r#type);
        all.container_port = self.sd_container_port.or(all.container_port);
        service.dns_config.ttl = self.dns_ttl.or(service.dns_config.ttl);
        let threshold = &mut service.healthcheck_custom_config.failure_threshold;
        *threshold = self.healthcheck_custom_config_failure_threshold.or(*threshold);
        all
    }

    /// What is wanted, `None` if names are not asked for.
    pub(super) fn wanted(&self, params: &Params) -> Result<Option<Wanted>> {
        let file = &params.run_params.service_discovery;
        if !self.enable_service_discovery {
            if let Some(flag) = self.details().next() {
                bail!("{flag} says how service discovery is done: add --enable-service-discovery");
            }
            if *file != ServiceDiscovery::default() {
                say::warn("service_discovery of ecs-params.yml is used with --enable-service-discovery only", &[]);
            }
            return Ok(None);
        }
        let awsvpc = params.task_definition.ecs_network_mode.as_deref() == Some("awsvpc");
        Wanted::of(self.over(file), awsvpc).map(Some)
    }
}

/// Which namespace.
#[derive(Debug, PartialEq)]
enum Namespace {
    Id(String),
    /// Of this name and type, made in the VPC if it is a private one and not there.
    Named {
        name: String,
        kind: &'static str,
        vpc: Option<String>,
        description: Option<String>,
    },
}

/// Names that are wanted for a service.
#[derive(Debug, PartialEq)]
pub(super) struct Wanted {
    namespace: Namespace,
    /// The name in it, if another than the ECS service's.
    name: Option<String>,
    description: Option<String>,
    record: &'static str,
    ttl: i64,
    threshold: Option<i32>,
    container: Option<(String, i32)>,
}

impl Wanted {
    fn of(given: ServiceDiscovery, awsvpc: bool) -> Result<Self> {
        let ServiceDiscovery { container_name, container_port, private_dns_namespace: private, .. } = given;
        let public = given.public_dns_namespace;
        let described = [
            private.id.clone().map(|id| ("--private-dns-namespace-id", Namespace::Id(id))),
            public.id.map(|id| ("--public-dns-namespace-id", Namespace::Id(id))),
            private.name.clone().map(|name| {
                let (vpc, description) = (private.vpc, private.description);
                ("--private-dns-namespace", Namespace::Named { name, kind: "DNS_PRIVATE", vpc, description })
            }),
            public.name.map(|name| {
                let kind = "DNS_PUBLIC";
                ("--public-dns-namespace", Namespace::Named { name, kind, vpc: None, description: None })
            }),
        ];
        let mut described: Vec<_> = described.into_iter().flatten().collect();
        if let [(one, _), (other, _), ..] = &described[..] {
            bail!("{one} and {other} cannot be used together: a service has one namespace");
        }
        let (_, namespace) = described.pop().context(
            "service discovery needs a namespace: --private-dns-namespace NAME --vpc VPC makes one, \
             --private-dns-namespace-id ID uses one that is there",
        )?;
        let service = given.service_discovery_service;
        let DnsConfig { r#type, ttl } = service.dns_config;
        // AWS: addresses where tasks have their own, else also ports.
        let record = match (r#type.as_deref(), awsvpc) {
            (Some("A"), false) => bail!("DNS type A needs tasks of network mode awsvpc; use SRV"),
            (Some("A"), true) | (None, true) => "A",
            (Some("SRV"), _) | (None, false) => "SRV",
            (Some(other), _) => bail!("'{other}' is no type of DNS records that services have: A or SRV"),
        };
        let container = match (container_name, container_port) {
            (Some(name), Some(port)) => Some((name, port)),
            (None, None) if record == "A" => None,
            _ => bail!(
                "{record} records need both a container and its port: --sd-container-name and --sd-container-port"
            ),
        };
        let HealthThreshold { failure_threshold: threshold } = service.healthcheck_custom_config;
        let (name, description) = (service.name, service.description);
        Ok(Self { namespace, name, description, record, ttl: ttl.unwrap_or(DNS_TTL), threshold, container })
    }

    fn records(&self) -> Vec<sd::DnsRecord> {
        vec![sd::DnsRecord { ttl: Some(self.ttl), r#type: Some(self.record.to_owned()) }]
    }
}

/// The names of one ECS service.
pub(super) struct Discovery<'a> {
    pub(super) settings: &'a Settings,
    /// The ECS service.
    pub(super) service: &'a str,
}

impl Discovery<'_> {
    fn owner(&self) -> String {
        format!("{}/{}", self.settings.cluster, self.service)
    }

    fn tags(&self) -> Option<Vec<sd::Tag>> {
        Some(vec![sd::Tag { key: Some(MADE_FOR.to_owned()), value: Some(self.owner()) }])
    }

    /// Makes what is not there, and answers what CreateService is told.
    pub(super) async fn make(&self, wanted: &Wanted) -> Result<ecs::ServiceRegistry> {
        let namespace = self.namespace(&wanted.namespace).await?;
        let request = sd::CreateServiceRequest {
            name: Some(wanted.name.clone().unwrap_or_else(|| self.service.to_owned())),
            namespace_id: Some(namespace),
            description: wanted.description.clone(),
            dns_config: Some(sd::DnsConfig { dns_records: Some(wanted.records()), ..Default::default() }),
            health_check_custom_config: Some(sd::HealthCheckCustomConfig {
                // AWS: one failed report is enough, whatever is asked for.
                failure_threshold: Some(wanted.threshold.unwrap_or(1)),
            }),
            tags: self.tags(),
            ..Default::default()
        };
        let made = self.settings.client.call(&request).await.map_err(|error| {
            error.context(Advice::new(
                "A service of that name may be there from before: `aws servicediscovery list-services`",
            ))
        })?;
        let made = made.service.context("the answer has no service")?;
        let name = request.name.unwrap_or_default();
        say::info("Created the service discovery service", &[("name", &name)]);
        let (container_name, container_port) = wanted.container.clone().unzip();
        Ok(ecs::ServiceRegistry { registry_arn: made.arn, container_name, container_port, ..Default::default() })
    }

    /// The id of the namespace.
    async fn namespace(&self, wanted: &Namespace) -> Result<String> {
        let (name, kind, vpc, description) = match wanted {
            Namespace::Id(id) => return Ok(id.clone()),
            Namespace::Named { name, kind, vpc, description } => (name, *kind, vpc, description),
        };
        let found = self.named(name, kind).await?;
        match (&found[..], vpc) {
            ([id], _) => return Ok(id.clone()),
            ([], Some(_)) if kind == "DNS_PRIVATE" => {}
            ([], _) if kind == "DNS_PRIVATE" => {
                bail!("there is no private namespace '{name}'; --vpc says where to make it")
            }
            ([], _) => bail!("there is no public namespace '{name}'"),
            _ => bail!("there are {} namespaces '{name}': name one by its id ({})", found.len(), found.join(", ")),
        }
        let request = sd::CreatePrivateDnsNamespaceRequest {
            name: Some(name.clone()),
            vpc: vpc.clone(),
            description: description.clone(),
            tags: self.tags(),
            ..Default::default()
        };
        let operation = self.settings.client.call(&request).await?.operation_id;
        let asked = sd::GetOperationRequest { operation_id: operation, ..Default::default() };
        let done = self.settings.client.call(&asked).await?.operation.context("the answer has no operation")?;
        let id = done.targets.as_ref().and_then(|targets| targets.get("NAMESPACE")).cloned();
        say::info("Created the private DNS namespace", &[("name", name)]);
        id.with_context(|| {
            format!(
                "the namespace '{name}' was not made: {}",
                done.error_message.unwrap_or_else(|| "no reason said".into())
            )
        })
    }

    async fn named(&self, name: &str, kind: &str) -> Result<Vec<String>> {
        let filter = sd::NamespaceFilter {
            name: Some("TYPE".to_owned()),
            values: Some(vec![kind.to_owned()]),
            condition: Some("EQ".to_owned()),
        };
        let mut found = Vec::new();
        let mut next_token = None;
        loop {
            let request =
                sd::ListNamespacesRequest { filters: Some(vec![filter.clone()]), next_token, ..Default::default() };
            let page = self.settings.client.call(&request).await?;
            let ours = page.namespaces.into_iter().flatten().filter(|space| space.name.as_deref() == Some(name));
            found.extend(ours.filter_map(|space| space.id));
            next_token = page.next_token;
            if next_token.is_none() {
                return Ok(found);
            }
        }
    }

    /// `--update-service-discovery`: the time that answers are good for.
    pub(super) async fn update(&self, wanted: &Wanted, known: &ecs::Service) -> Result<()> {
        let registry = known.service_registries.iter().flatten().find_map(|registry| registry.registry_arn.as_deref());
        let Some(id) = registry.and_then(id) else {
            bail!(
                "service '{}' has no service discovery to update; it is given when a service is created",
                self.service
            );
        };
        let dns_config = Some(sd::DnsConfigChange { dns_records: Some(wanted.records()) });
        let change = sd::ServiceChange { dns_config, description: wanted.description.clone(), ..Default::default() };
        self.settings.client.call(&sd::UpdateServiceRequest { id: Some(id.to_owned()), service: Some(change) }).await?;
        say::info("Updated the service discovery service", &[("service", self.service)]);
        Ok(())
    }

    /// Deletes what was made for the service that is gone.
    pub(super) async fn remove(&self, known: &ecs::Service, with_namespace: bool) -> Result<()> {
        let registries =
            known.service_registries.iter().flatten().filter_map(|registry| registry.registry_arn.as_deref());
        for arn in registries {
            let Some(id) = id(arn) else { continue };
            let asked = sd::GetServiceRequest { id: Some(id.to_owned()) };
            let service = self.settings.client.call(&asked).await?.service.context("the answer has no service")?;
            if self.is_ours(arn).await? {
                self.until_empty(id).await?;
                self.settings.client.call(&sd::DeleteServiceRequest { id: Some(id.to_owned()) }).await?;
                say::info("Deleted the service discovery service", &[("name", service.name.as_deref().unwrap_or(id))]);
            }
            if let Some(namespace) = service.namespace_id.filter(|_| with_namespace) {
                self.remove_namespace(&namespace).await?;
            }
        }
        Ok(())
    }

    async fn remove_namespace(&self, id: &str) -> Result<()> {
        let found = self.settings.client.call(&sd::GetNamespaceRequest { id: Some(id.to_owned()) }).await?.namespace;
        let found = found.context("the answer has no namespace")?;
        let (arn, name) = (found.arn.unwrap_or_default(), found.name.unwrap_or_default());
        if !self.is_ours(&arn).await? {
            say::warn("The namespace was not made for this service and stays", &[("name", &name)]);
            return Ok(());
        }
        self.settings.client.call(&sd::DeleteNamespaceRequest { id: Some(id.to_owned()) }).await?;
        say::info("Deleted the private DNS namespace", &[("name", &name)]);
        Ok(())
    }

    async fn is_ours(&self, arn: &str) -> Result<bool> {
        let request = sd::ListTagsForResourceRequest { resource_arn: Some(arn.to_owned()) };
        let tags = self.settings.client.call(&request).await?.tags;
        let owner = self.owner();
        let made_for = |tag: sd::Tag| tag.key.as_deref() == Some(MADE_FOR) && tag.value.as_ref() == Some(&owner);
        Ok(tags.into_iter().flatten().any(made_for))
    }

    #[allow(clippy::disallowed_methods)] // The CLI has no effects to be simulated.
    async fn until_empty(&self, id: &str) -> Result<()> {
        for _ in 0..ASKED {
            let request = sd::ListInstancesRequest { service_id: Some(id.to_owned()), ..Default::default() };
            if self.settings.client.call(&request).await?.instances.is_none_or(|instances| instances.is_empty()) {
                return Ok(());
            }
            tokio::time::sleep(BETWEEN).await;
        }
        Err(anyhow!("the tasks of service '{}' still have names", self.service).context(Advice::new(
            "Once they have stopped: `aws servicediscovery delete-service` with the id of the registry",
        )))
    }
}

/// A Cloud Map service's id.
fn id(arn: &str) -> Option<&str> {
    arn.rsplit('/').next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::compose::params;
    use clap::Parser;
    use std::path::Path;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        discovery: DiscoveryArgs,
    }

    fn wanted(flags: &str, file: &str, mode: &str) -> Result<Option<Wanted>, String> {
        let line =
            Line::try_parse_from(["x"].into_iter().chain(flags.split_whitespace())).map_err(|e| e.to_string())?;
        let file = format!("task_definition: {{ecs_network_mode: {mode}}}\nrun_params: {{service_discovery: {file}}}");
        let (params, _) = params::read(Path::new("ecs-params.yml"), &file).unwrap();
        line.discovery.wanted(&params).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn flags_stand_above_the_file_and_what_is_left_out_is_the_originals() {
        let named = |name: &str, vpc: Option<&str>| Namespace::Named {
            name: name.to_owned(),
            kind: "DNS_PRIVATE",
            vpc: vpc.map(str::to_owned),
            description: None,
        };
        let plain = |namespace| Wanted {
            namespace,
            name: None,
            description: None,
            record: "A",
            ttl: 60,
            threshold: None,
            container: None,
        };
        let on = |rest: &str| format!("--enable-service-discovery {rest}");
        let check = |flags: &str, file: &str, mode: &str, expected: Wanted| {
            assert_eq!(wanted(&on(flags), file, mode), Ok(Some(expected)), "{flags} {file}");
        };
        check("--private-dns-namespace corp --vpc vpc-1", "{}", "awsvpc", plain(named("corp", Some("vpc-1"))));
        check("--private-dns-namespace-id ns-1", "{}", "awsvpc", plain(Namespace::Id("ns-1".into())));
        let file = "{private_dns_namespace: {name: corp, vpc: vpc-2}, service_discovery_service: {name: api, dns_config: {ttl: 5}}}";
        let named_api = |ttl| Wanted { ttl, name: Some("api".into()), ..plain(named("corp", Some("vpc-2"))) };
        check("", file, "awsvpc", named_api(5));
        check("--dns-ttl 7", file, "awsvpc", named_api(7));
        let srv = Wanted { record: "SRV", container: Some(("web".into(), 80)), ..plain(Namespace::Id("ns-1".into())) };
        let file = "{container_name: web, container_port: 80, public_dns_namespace: {name: example.com}}";
        check("--private-dns-namespace-id ns-1", file, "bridge", srv);
        assert_eq!(wanted("", file, "bridge"), Ok(None), "the section alone asks for nothing");
    }

    #[test]
    fn what_cannot_be_is_said() {
        let check = |flags: &str, mode: &str, words: &str| {
            let said = wanted(flags, "{}", mode).unwrap_err();
            assert!(said.contains(words), "{flags}: {said}");
        };
        check("--vpc vpc-1", "awsvpc", "--vpc says how");
        check("--enable-service-discovery", "awsvpc", "needs a namespace");
        let on = "--enable-service-discovery --private-dns-namespace-id a";
        check(&format!("{on} --public-dns-namespace b"), "awsvpc", "cannot be used together");
        check(on, "bridge", "SRV records need both");
        check(&format!("{on} --dns-type A"), "bridge", "needs tasks of network mode awsvpc");
        check(&format!("{on} --sd-container-name web"), "awsvpc", "need both a container and its port");
    }
}
