//! The services and operations we keep of AWS's models. Adding a service is adding a row here.

/// One service of botocore and what we keep of it.
pub(crate) struct Kept {
    /// Our module name, and the file name under `models/`.
    pub name: &'static str,
    /// Directory below botocore's `data/`.
    pub dir: &'static str,
    /// The operations kept, or all of them when empty.
    pub operations: &'static [&'static str],
    /// Error code the service answers when a member breaks a constraint of the model.
    pub validation_code: &'static str,
}

pub(crate) const SERVICES: &[Kept] = &[
    Kept { name: "ecs", dir: "ecs/2014-11-13", operations: &[], validation_code: "InvalidParameterException" },
    Kept { name: "logs", dir: "logs/2014-03-28", operations: &[], validation_code: "InvalidParameterException" },
    Kept { name: "sts", dir: "sts/2011-06-15", operations: &["GetCallerIdentity"], validation_code: "ValidationError" },
    Kept {
        name: "ec2",
        dir: "ec2/2016-11-15",
        // The whole of EC2 is 830 operations and minutes of compile time; these are the ones our instances need.
        operations: &[
            "CreateTags",
            "DescribeAvailabilityZones",
            "DescribeInstanceTypeOfferings",
            "DescribeInstanceTypes",
            "DescribeInstances",
            "DescribeNetworkInterfaces",
            "DescribeRegions",
            "DescribeSecurityGroups",
            "DescribeSubnets",
            "DescribeTags",
            "DescribeVpcs",
            "RunInstances",
            "StartInstances",
            "StopInstances",
            "TerminateInstances",
        ],
        validation_code: "InvalidParameterValue",
    },
    Kept {
        name: "ssm",
        dir: "ssm/2014-11-06",
        operations: &["CreateActivation", "DeleteActivation", "DescribeActivations", "GetParameter"],
        validation_code: "ValidationException",
    },
];
