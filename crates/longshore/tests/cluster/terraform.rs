//! Terraform and its AWS provider, as people have them, against a real server; the configurations are in `tests/terraform`.
//!
//! Neither can be fetched by a test, so this looks for them: `terraform` on the path, the provider in a filesystem mirror. Where one
//! is missing it says so, and nothing is tested.

use crate::harness::Cluster;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// Where a mirror may be; the first is for whoever has it elsewhere.
const MIRRORS: [&str; 3] = ["TF_PLUGIN_MIRROR", "/opt/tf-plugins", "/usr/local/share/terraform/plugins"];
const PROVIDER: &str = "registry.terraform.io/hashicorp/aws/5.100.0";

/// The mirror that holds the provider.
#[allow(clippy::disallowed_methods)] // A test's own configuration.
fn mirror() -> Option<PathBuf> {
    let named = std::env::var(MIRRORS[0]).ok().map(PathBuf::from);
    let all = named.into_iter().chain(MIRRORS[1..].iter().map(PathBuf::from));
    all.into_iter().find(|path| path.join(PROVIDER).is_dir())
}

/// Terraform in a folder with a copy of one configuration.
struct Terraform<'a> {
    cluster: &'a Cluster,
    folder: PathBuf,
    settings: PathBuf,
}

impl<'a> Terraform<'a> {
    fn new(cluster: &'a Cluster, mirror: &Path, configuration: &str) -> Self {
        let folder = cluster.path(configuration);
        fs::create_dir(&folder).unwrap();
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/terraform").join(configuration);
        fs::copy(from.join("main.tf"), folder.join("main.tf")).unwrap();
        let settings = cluster.path("terraform.rc");
        let text = format!("provider_installation {{\n  filesystem_mirror {{\n    path = {mirror:?}\n  }}\n}}\n");
        fs::write(&settings, text).unwrap();
        Self { cluster, folder, settings }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("terraform");
        command.args(arguments).arg("-no-color").current_dir(&self.folder);
        command.envs(self.cluster.environment()).env("TF_CLI_CONFIG_FILE", &self.settings);
        // It would ask its maker whether there is a newer one.
        command.env("CHECKPOINT_DISABLE", "1").env("HOME", &self.folder);
        command.output().unwrap()
    }

    /// It must end with that code; answers what it said.
    fn must(&self, arguments: &[&str], code: i32) -> String {
        let out = self.run(arguments);
        let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert_eq!(out.status.code(), Some(code), "terraform {arguments:?}: {said}\n{}", self.cluster.log());
        said
    }
}

/// The mirror, where Terraform is here too; says so where nothing can be tested.
fn found() -> Option<PathBuf> {
    let found = mirror().filter(|_| Command::new("terraform").arg("-version").output().is_ok());
    if found.is_none() {
        eprintln!("NOT TESTED: there is no terraform here, or no mirror of {PROVIDER}; TF_PLUGIN_MIRROR may name one");
    }
    found
}

/// Applies a configuration, plans it again, which must be empty, and destroys it. `seen` holds what its output of that name
/// must be; `left` looks at what is left.
fn lives(configuration: &str, seen: &[(&str, serde_json::Value)], left: impl FnOnce(&Cluster)) {
    let Some(mirror) = found() else { return };
    let mut cluster = Cluster::start(0);
    let terraform = Terraform::new(&cluster, &mirror, configuration);
    terraform.must(&["init", "-input=false"], 0);
    terraform.must(&["apply", "-auto-approve", "-input=false"], 0);
    let got: serde_json::Value = serde_json::from_str(&terraform.must(&["output", "-json", "seen"], 0)).unwrap();
    for (name, want) in seen {
        assert_eq!(got[name], *want, "{name}");
    }
    // 0: nothing would change. 2 would be a difference.
    terraform.must(&["plan", "-detailed-exitcode", "-input=false"], 0);
    terraform.must(&["destroy", "-auto-approve", "-input=false"], 0);
    left(&cluster);
    assert!(cluster.stop_server(), "the server did not end well:\n{}", cluster.log());
    assert_eq!(cluster.traces(), Vec::<String>::new(), "something is left behind");
}

/// What the `aws` CLI shows.
fn shown(cluster: &Cluster, arguments: &[&str]) -> serde_json::Value {
    let all: Vec<_> = ["-m", "awscli"].iter().chain(arguments).chain(&["--output", "json"]).copied().collect();
    serde_json::from_slice(&cluster.client(&crate::harness::python(), &all).stdout).unwrap()
}

#[test]
fn terraform_makes_a_vpc_plans_nothing_more_and_takes_it_down() {
    let seen = [
        ("zones", serde_json::json!(3)),
        ("default_subnets", serde_json::json!(3)),
        ("default_cidr", serde_json::json!("172.31.0.0/16")),
        ("subnet", serde_json::json!("10.20.128.0/20")),
        ("group", serde_json::json!("from everywhere")),
        ("table", serde_json::json!(true)),
        ("gateway", serde_json::json!(true)),
        ("nat", serde_json::json!(true)),
        ("nat_state", serde_json::json!("available")),
        ("main_table", serde_json::json!(true)),
    ];
    lives("vpc", &seen, |cluster| {
        let left = shown(cluster, &["ec2", "describe-vpcs"]);
        assert_eq!(left["Vpcs"].as_array().unwrap().len(), 1, "the default one alone is left: {left}");
    });
}

#[test]
fn terraform_names_services_in_cloud_map_and_takes_the_names_down() {
    let seen = [
        ("http", serde_json::json!("api")),
        ("namespace", serde_json::json!(true)),
        ("service", serde_json::json!(true)),
        ("routing", serde_json::json!("MULTIVALUE")),
        ("ttl", serde_json::json!(10)),
    ];
    lives("discovery", &seen, |cluster| {
        for (list, name) in [("list-namespaces", "Namespaces"), ("list-services", "Services")] {
            let left = shown(cluster, &["servicediscovery", list]);
            assert_eq!(left[name], serde_json::json!([]), "{left}");
        }
    });
}

#[test]
fn terraform_keeps_secrets_and_parameters_and_takes_them_down() {
    let seen = [
        ("db", serde_json::json!(true)),
        ("stages", serde_json::json!(["AWSCURRENT"])),
        ("key", serde_json::json!("two")),
        ("version", serde_json::json!(1)),
        ("names", serde_json::json!(["/web/colours", "/web/key"])),
        ("given", serde_json::json!(2)),
    ];
    lives("secrets", &seen, |cluster| {
        let left = shown(cluster, &["secretsmanager", "list-secrets", "--include-planned-deletion"]);
        assert_eq!(left["SecretList"], serde_json::json!([]), "{left}");
        let left = shown(cluster, &["ssm", "describe-parameters"]);
        assert_eq!(left["Parameters"], serde_json::json!([]), "{left}");
    });
}

#[test]
fn terraform_makes_a_capacity_provider_of_a_group_and_takes_it_down() {
    let seen = [
        ("group", serde_json::json!("grown")),
        ("zones", serde_json::json!(3)),
        ("provider", serde_json::json!(2)),
        ("draining", serde_json::json!("ENABLED")),
        ("versions", serde_json::json!(1)),
    ];
    lives("providers", &seen, |cluster| {
        let groups = shown(cluster, &["autoscaling", "describe-auto-scaling-groups"]);
        assert_eq!(groups["AutoScalingGroups"], serde_json::json!([]), "{groups}");
        let templates = shown(cluster, &["ec2", "describe-launch-templates"]);
        assert_eq!(templates["LaunchTemplates"], serde_json::json!([]), "{templates}");
    });
}

#[test]
fn terraform_makes_roles_policies_and_users_and_takes_them_down() {
    let seen = [
        ("role", serde_json::json!("arn:aws:iam::000000000000:role/web/execution")),
        ("policy", serde_json::json!("arn:aws:iam::000000000000:policy/deploy")),
        ("profile", serde_json::json!("arn:aws:iam::000000000000:instance-profile/machine")),
        ("key", serde_json::json!(20)),
    ];
    lives("iam", &seen, |cluster| {
        // What `longshore dev` makes has no path.
        for (list, name) in
            [("list-roles", "Roles"), ("list-users", "Users"), ("list-instance-profiles", "InstanceProfiles")]
        {
            let left = shown(cluster, &["iam", list, "--path-prefix", "/web/"]);
            assert_eq!(left[name], serde_json::json!([]), "{left}");
        }
    });
}
