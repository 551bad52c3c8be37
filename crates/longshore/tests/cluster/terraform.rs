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

#[test]
fn terraform_makes_a_vpc_plans_nothing_more_and_takes_it_down() {
    let Some(mirror) = mirror().filter(|_| Command::new("terraform").arg("-version").output().is_ok()) else {
        eprintln!("NOT TESTED: there is no terraform here, or no mirror of {PROVIDER}; TF_PLUGIN_MIRROR may name one");
        return;
    };
    let mut cluster = Cluster::start(0);
    let terraform = Terraform::new(&cluster, &mirror, "vpc");
    terraform.must(&["init", "-input=false"], 0);
    terraform.must(&["apply", "-auto-approve", "-input=false"], 0);
    let seen: serde_json::Value = serde_json::from_str(&terraform.must(&["output", "-json", "seen"], 0)).unwrap();
    for (name, want) in [
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
    ] {
        assert_eq!(seen[name], want, "{name}");
    }
    // 0: nothing would change. 2 would be a difference.
    terraform.must(&["plan", "-detailed-exitcode", "-input=false"], 0);
    terraform.must(&["destroy", "-auto-approve", "-input=false"], 0);
    let left = cluster.client(&crate::harness::python(), &["-m", "awscli", "ec2", "describe-vpcs", "--output", "json"]);
    let left: serde_json::Value = serde_json::from_slice(&left.stdout).unwrap();
    assert_eq!(left["Vpcs"].as_array().unwrap().len(), 1, "the default one alone is left: {left}");
    assert!(cluster.stop_server(), "the server did not end well:\n{}", cluster.log());
    assert_eq!(cluster.traces(), Vec::<String>::new(), "something is left behind");
}
