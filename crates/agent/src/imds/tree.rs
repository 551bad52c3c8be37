//! What there is to tell of a machine, as paths. Pure.

use base64::{Engine, engine::general_purpose::STANDARD};
use model::{MetadataOptions, Timestamp};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, net::Ipv4Addr};

/// A machine as EC2 knows it; its host writes it into a file beside the agent's data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // EC2's names.
pub struct Facts {
    pub account: String,
    pub region: String,
    pub availability_zone: String,
    #[serde(default)]
    pub availability_zone_id: Option<String>,
    pub instance_id: String,
    pub instance_type: String,
    pub image_id: String,
    pub reservation_id: String,
    pub launch_index: u32,
    pub launched_at: Timestamp,
    pub private_ip: Ipv4Addr,
    pub private_dns_name: String,
    pub mac: String,
    pub vpc_id: String,
    pub vpc_cidr: String,
    pub subnet_id: String,
    #[serde(default)]
    pub subnet_cidr: Option<String>,
    /// Id and name of each.
    pub security_groups: Vec<(String, String)>,
    /// Base64, as it was given.
    #[serde(default)]
    pub user_data: Option<String>,
    #[serde(default)]
    pub options: MetadataOptions,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_profile: Option<ProfileFacts>,
}

/// The instance's profile. Which role is in it only the server knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ProfileFacts {
    pub arn: String,
    pub id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    account_id: &'a str,
    architecture: &'a str,
    availability_zone: &'a str,
    billing_products: Option<()>,
    devpay_product_codes: Option<()>,
    marketplace_product_codes: Option<()>,
    image_id: &'a str,
    instance_id: &'a str,
    instance_type: &'a str,
    kernel_id: Option<()>,
    pending_time: String,
    private_ip: Ipv4Addr,
    ramdisk_id: Option<()>,
    region: &'a str,
    version: &'static str,
}

impl Facts {
    /// The user data's bytes, if there is any.
    pub(super) fn user_data(&self) -> Option<Vec<u8>> {
        // Clients that break lines of base64 are understood by EC2, and by us.
        let packed: String = self.user_data.as_deref()?.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        STANDARD.decode(packed).ok().filter(|bytes| !bytes.is_empty())
    }

    /// AWS: the document of 2017 is still the newest.
    fn document(&self) -> String {
        let architecture = match std::env::consts::ARCH {
            "aarch64" => "arm64",
            other => other,
        };
        let pending = crate::introspection::rfc3339(self.launched_at);
        let document = Document {
            account_id: &self.account,
            architecture,
            availability_zone: &self.availability_zone,
            billing_products: None,
            devpay_product_codes: None,
            marketplace_product_codes: None,
            image_id: &self.image_id,
            instance_id: &self.instance_id,
            instance_type: &self.instance_type,
            kernel_id: None,
            // In whole seconds.
            pending_time: format!("{}Z", &pending[..pending.len() - 5]),
            private_ip: self.private_ip,
            ramdisk_id: None,
            region: &self.region,
            version: "2017-09-30",
        };
        serde_json::to_string_pretty(&document).expect("these types are JSON")
    }

    /// Every path below the version, and what it says.
    pub(super) fn leaves(&self) -> BTreeMap<String, String> {
        let ids: Vec<_> = self.security_groups.iter().map(|(id, _)| id.as_str()).collect();
        let names: Vec<_> = self.security_groups.iter().map(|(_, name)| name.as_str()).collect();
        let address = self.private_ip.to_string();
        let index = self.launch_index.to_string();
        let own = [
            ("ami-id", self.image_id.as_str()),
            ("ami-launch-index", &index),
            ("ami-manifest-path", "(unknown)"),
            ("hostname", &self.private_dns_name),
            ("instance-action", "none"),
            ("instance-id", &self.instance_id),
            ("instance-life-cycle", "on-demand"),
            ("instance-type", &self.instance_type),
            ("local-hostname", &self.private_dns_name),
            ("local-ipv4", &address),
            ("mac", &self.mac),
            ("placement/availability-zone", &self.availability_zone),
            ("placement/region", &self.region),
            ("profile", "default-hvm"),
            ("reservation-id", &self.reservation_id),
            ("security-groups", &names.join("\n")),
            ("services/domain", "amazonaws.com"),
            ("services/partition", "aws"),
        ]
        .map(|(path, text)| (format!("meta-data/{path}"), text.to_owned()));
        let interface = [
            ("device-number", "0"),
            ("interface-id", &self.instance_id.replacen("i-", "eni-", 1)),
            ("local-hostname", &self.private_dns_name),
            ("local-ipv4s", &address),
            ("mac", &self.mac),
            ("owner-id", &self.account),
            ("security-group-ids", &ids.join("\n")),
            ("security-groups", &names.join("\n")),
            ("subnet-id", &self.subnet_id),
            ("vpc-id", &self.vpc_id),
            ("vpc-ipv4-cidr-block", &self.vpc_cidr),
            ("vpc-ipv4-cidr-blocks", &self.vpc_cidr),
        ]
        .map(|(path, text)| (format!("meta-data/network/interfaces/macs/{}/{path}", self.mac), text.to_owned()));
        let mut all: BTreeMap<_, _> = own.into_iter().chain(interface).collect();
        if let Some(id) = &self.availability_zone_id {
            all.insert("meta-data/placement/availability-zone-id".to_owned(), id.clone());
        }
        if let Some(cidr) = &self.subnet_cidr {
            let path = format!("meta-data/network/interfaces/macs/{}/subnet-ipv4-cidr-block", self.mac);
            all.insert(path, cidr.clone());
        }
        if self.instance_profile.is_some() {
            // For the list; what is below it is told by `profile`.
            all.insert("meta-data/iam/info".to_owned(), String::new());
        }
        all.insert("dynamic/instance-identity/document".to_owned(), self.document());
        all
    }
}

/// Whether a path begins so: `latest`, `1.0`, or the date of a version, all of which tell the same.
pub(super) fn is_version(word: &str) -> bool {
    let dated = word.len() == 10
        && word.bytes().enumerate().all(|(at, b)| if at == 4 || at == 7 { b == b'-' } else { b.is_ascii_digit() });
    word == "latest" || word == "1.0" || dated
}

/// What a path says; of one that has others below it, their names, a slash behind those that have some in their turn.
pub(super) fn find(leaves: &BTreeMap<String, String>, path: &str) -> Option<String> {
    if path.is_empty() {
        return Some("dynamic\nmeta-data\nuser-data".to_owned());
    }
    if let Some(leaf) = leaves.get(path) {
        return Some(leaf.clone());
    }
    let folder = format!("{path}/");
    let mut names: Vec<String> = Vec::new();
    for rest in leaves.keys().filter_map(|leaf| leaf.strip_prefix(&folder)) {
        let name = rest.split_once('/').map_or_else(|| rest.to_owned(), |(first, _)| format!("{first}/"));
        if names.last() != Some(&name) {
            names.push(name);
        }
    }
    (!names.is_empty()).then(|| names.join("\n"))
}
