//! Policies of AWS's that every account has: those that ECS stacks attach, and the few that everybody knows.
//!
//! Their documents are what AWS has published of them, cut to the services that are served here where a document names a hundred
//! others; docs/iam.md says of which.

/// A policy of AWS's. Nobody changes it, and nothing of it is stored.
#[derive(Debug, PartialEq, Eq)]
pub struct AwsPolicy {
    /// Its name.
    pub name: &'static str,
    /// `/`, `/service-role/` or `/aws-service-role/`.
    pub path: &'static str,
    /// What AWS says that it is for.
    pub description: &'static str,
    /// `v1` and so on, as AWS counts.
    pub version: u32,
    /// The document that holds.
    pub document: &'static str,
}

const PREFIX: &str = "arn:aws:iam::aws:policy";

impl AwsPolicy {
    /// Its ARN: AWS's account is called `aws`.
    pub fn arn(&self) -> String {
        format!("{PREFIX}{}{}", self.path, self.name)
    }

    /// `ANPA` and 17 capitals and digits, the same on every server. Nobody knows AWS's own.
    pub fn id(&self) -> String {
        const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        // FNV-1a, twice as long: only to differ from name to name.
        let mut hash: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
        for byte in self.name.bytes() {
            hash = (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
        let letters = (0..16).map(|at| char::from(LETTERS[(hash >> (5 * at)) as usize % LETTERS.len()]));
        format!("ANPA{}Z", letters.collect::<String>())
    }
}

/// The policy of that ARN, if it is one of AWS's that is known here.
pub fn find(arn: &str) -> Option<&'static AwsPolicy> {
    let rest = arn.strip_prefix(PREFIX)?;
    POLICIES.iter().find(|policy| rest.strip_prefix(policy.path) == Some(policy.name))
}

macro_rules! policy {
    ($path:literal, $name:literal, $version:literal, $description:literal) => {
        AwsPolicy {
            name: $name,
            path: $path,
            description: $description,
            version: $version,
            document: include_str!(concat!($name, ".json")),
        }
    };
}

/// All of them, by name.
pub static POLICIES: &[AwsPolicy] = &[
    policy!("/", "AdministratorAccess", 1, "Provides full access to AWS services and resources."),
    policy!(
        "/service-role/",
        "AmazonEC2ContainerServiceAutoscaleRole",
        1,
        "Policy to enable Task Autoscaling for Amazon EC2 Container Service"
    ),
    policy!(
        "/service-role/",
        "AmazonEC2ContainerServiceEventsRole",
        2,
        "Policy to enable CloudWatch Events for EC2 Container Service"
    ),
    policy!("/service-role/", "AmazonEC2ContainerServiceRole", 4, "Default policy for Amazon ECS service role."),
    policy!(
        "/service-role/",
        "AmazonEC2ContainerServiceforEC2Role",
        7,
        "Default policy for the Amazon EC2 Role for Amazon EC2 Container Service."
    ),
    policy!("/", "AmazonECS_FullAccess", 21, "Provides administrative access to Amazon ECS resources."),
    policy!(
        "/service-role/",
        "AmazonECSInfrastructureRolePolicyForVolumes",
        2,
        "Provides access to other AWS service resources required to manage volumes associated with ECS workloads on your behalf."
    ),
    policy!(
        "/aws-service-role/",
        "AmazonECSServiceRolePolicy",
        11,
        "Policy to enable Amazon ECS to manage your cluster."
    ),
    policy!(
        "/service-role/",
        "AmazonECSTaskExecutionRolePolicy",
        1,
        "Provides access to other AWS service resources that are required to run Amazon ECS tasks"
    ),
    policy!(
        "/",
        "AmazonSSMManagedInstanceCore",
        2,
        "The policy for Amazon EC2 Role to enable AWS Systems Manager service core functionality."
    ),
    policy!("/", "AmazonSSMReadOnlyAccess", 1, "Provides read only access to Amazon SSM."),
    policy!("/", "AmazonSSMFullAccess", 1, "Provides full access to Amazon SSM."),
    policy!("/", "CloudWatchLogsFullAccess", 2, "Provides full access to CloudWatch Logs"),
    policy!("/", "CloudWatchLogsReadOnlyAccess", 1, "Provides read only access to CloudWatch Logs"),
    policy!("/", "IAMFullAccess", 2, "Provides full access to IAM via the AWS Management Console."),
    policy!("/", "IAMReadOnlyAccess", 4, "Provides read only access to IAM via the AWS Management Console."),
    policy!(
        "/",
        "PowerUserAccess",
        5,
        "Provides full access to AWS services and resources, but does not allow management of Users and groups."
    ),
    policy!("/", "ReadOnlyAccess", 1, "Provides read-only access to AWS services and resources."),
    policy!(
        "/",
        "SecretsManagerReadWrite",
        5,
        "Provides read/write access to AWS Secrets Manager via the AWS Management Console."
    ),
];
