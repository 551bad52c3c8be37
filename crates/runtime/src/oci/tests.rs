//! What the document says for specs that matter.

use super::*;
use crate::container::{BindMount, Namespace, Resources, Tmpfs};

fn facts() -> Facts {
    Facts {
        secret_env: Vec::new(),
        identity: Identity { uid: 0, gid: 0, groups: vec![0], home: "/root".into() },
        available: CapabilitySet::from_mask(0x1ff_feff_ffff),
        init: None,
        cgroup_v2: false,
        devices: vec![Device {
            path: "/dev/fuse".into(),
            kind: 'c',
            major: 10,
            minor: 229,
            mode: 0o666,
            uid: 0,
            gid: 107,
            access: "rw".into(),
        }],
    }
}

fn spec() -> ContainerSpec {
    ContainerSpec::new("c1", "img", vec!["/bin/true".into()])
}

fn mount<'a>(document: &'a Value, target: &str) -> &'a Value {
    let mounts = document["mounts"].as_array().unwrap();
    mounts.iter().find(|m| m["destination"] == target).unwrap_or_else(|| panic!("no mount at {target}"))
}

#[test]
fn a_plain_container_is_docker_shaped() {
    let document = document(&spec(), &facts()).unwrap();
    assert_eq!(document["process"]["capabilities"]["bounding"].as_array().unwrap().len(), 14);
    assert_eq!(document["process"]["cwd"], "/");
    assert_eq!(document["process"]["env"], json!(["HOSTNAME=c1", "HOME=/root"]));
    assert_eq!(document["linux"]["cgroupsPath"], "/longshore/c1");
    assert!(document["linux"]["maskedPaths"].as_array().unwrap().contains(&json!("/proc/kcore")));
    assert_eq!(document["linux"]["seccomp"]["defaultAction"], "SCMP_ACT_ERRNO");
    assert_eq!(document["linux"]["resources"]["devices"][0], json!({"allow": false, "access": "rwm"}));
    assert!(mount(&document, "/dev/shm")["options"].as_array().unwrap().contains(&json!("size=67108864")));
    let kinds: Vec<_> = document["linux"]["namespaces"].as_array().unwrap().iter().map(|n| &n["type"]).collect();
    assert_eq!(kinds, ["pid", "ipc", "uts", "mount", "network"]);
}

#[test]
fn privileged_means_nothing_masked_and_every_device() {
    let document = document(&ContainerSpec { privileged: true, ..spec() }, &facts()).unwrap();
    assert!(document["linux"]["seccomp"].is_null());
    assert!(document["linux"]["maskedPaths"].is_null());
    let fuse = &document["linux"]["devices"][0];
    assert_eq!((&fuse["path"], &fuse["uid"], &fuse["gid"]), (&json!("/dev/fuse"), &json!(0), &json!(107)));
    assert_eq!(document["linux"]["resources"]["devices"], json!([{"allow": true, "access": "rwm"}]));
    assert_eq!(document["process"]["capabilities"]["effective"].as_array().unwrap().len(), 40);
}

#[test]
fn limits_mounts_and_init_are_carried_over() {
    let spec = ContainerSpec {
        resources: Resources {
            cpu_shares: Some(512),
            cpu_quota_us: Some(50_000),
            cpu_period_us: None,
            memory_limit: Some(1 << 25),
            memory_reservation: Some(1 << 24),
            memory_swap: Some(1 << 26),
            swappiness: None,
            pids_limit: Some(64),
        },
        mounts: vec![BindMount {
            source: "/h/hosts".into(),
            target: "/etc/hosts".into(),
            read_only: true,
            fill: None,
            as_is: false,
        }],
        tmpfs: vec![Tmpfs { target: "/scratch".into(), size: Some(4096), options: vec!["exec".into()] }],
        ulimits: vec![Ulimit { name: "nofile".into(), soft: 10, hard: 20 }],
        network: Network::Path("/run/netns/x".into()),
        ..spec()
    };
    let facts = Facts { init: Some("/opt/init".into()), cgroup_v2: true, ..facts() };
    let document = document(&spec, &facts).unwrap();
    assert_eq!(document["process"]["args"], json!(["/dev/init", "/bin/true"]));
    assert_eq!(mount(&document, "/dev/init")["source"], "/opt/init");
    assert_eq!(mount(&document, "/etc/hosts")["options"], json!(["rbind", "rprivate", "ro"]));
    assert_eq!(mount(&document, "/scratch")["options"], json!(["noexec", "nosuid", "nodev", "size=4096", "exec"]));
    assert_eq!(mount(&document, "/sys/fs/cgroup")["type"], "cgroup2");
    assert_eq!(document["process"]["rlimits"], json!([{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 20}]));
    let resources = &document["linux"]["resources"];
    assert_eq!(resources["cpu"], json!({"shares": 512, "quota": 50_000, "period": 100_000}));
    assert_eq!(resources["memory"], json!({"limit": 1 << 25, "reservation": 1 << 24, "swap": 1 << 26}));
    assert_eq!(resources["pids"], json!({"limit": 64}));
    let namespaces = document["linux"]["namespaces"].as_array().unwrap();
    assert!(namespaces.contains(&json!({"type": "network", "path": "/run/netns/x"})));
    assert!(namespaces.contains(&json!({"type": "cgroup"})));
}

#[test]
fn mounts_come_from_the_outside_in_and_take_the_place_of_the_standard_ones() {
    let bind = |target: &str| BindMount {
        source: "/h".into(),
        target: target.into(),
        read_only: false,
        fill: None,
        as_is: false,
    };
    let mounts = ["/a/b/c", "/a/", "/dev/shm/", "/a/b"].map(bind).to_vec();
    let tmpfs = vec![Tmpfs { target: "/a/b/c/d".into(), size: None, options: vec![] }];
    let document = document(&ContainerSpec { mounts, tmpfs, ..spec() }, &facts()).unwrap();
    let all = document["mounts"].as_array().unwrap();
    let own: Vec<_> = all.iter().filter_map(|m| m["destination"].as_str()).skip(6).collect();
    assert_eq!(own, ["/a/", "/dev/shm/", "/a/b", "/a/b/c", "/a/b/c/d"]);
    assert!(all.iter().all(|m| m["destination"] != "/dev/shm"));
}

#[test]
fn namespaces_are_shared_or_the_machines() {
    let kinds = |pid: Namespace, ipc: Namespace| {
        let document = document(&ContainerSpec { pid, ipc, shm_size: Some(0), ..spec() }, &facts()).unwrap();
        assert!(document["mounts"].as_array().unwrap().iter().all(|m| m["destination"] != "/dev/shm"));
        let mut all = document["linux"]["namespaces"].as_array().unwrap().clone();
        all.retain(|n| n["type"] == "pid" || n["type"] == "ipc");
        all
    };
    assert!(kinds(Namespace::Host, Namespace::Host).is_empty());
    let shared = kinds(Namespace::Path("/proc/7/ns/pid".into()), Namespace::Own);
    assert_eq!(shared, [json!({"type": "pid", "path": "/proc/7/ns/pid"}), json!({"type": "ipc"})]);
    let held = ContainerSpec { init: true, args: vec![INIT_TARGET.into()], terminal: true, ..spec() };
    let document = document(&held, &Facts { init: Some("/opt/init".into()), ..facts() }).unwrap();
    assert_eq!(document["process"]["args"], json!([INIT_TARGET]));
    assert_eq!(
        (&document["process"]["terminal"], &document["process"]["env"][2]),
        (&json!(true), &json!("TERM=xterm"))
    );
}

#[test]
fn how_readily_memory_is_swapped_out_only_one_kind_of_control_groups_can_be_told() {
    let swappiness = Some(7);
    let spec = ContainerSpec { resources: Resources { swappiness, ..Resources::default() }, ..spec() };
    let made = document(&spec, &facts()).unwrap();
    assert_eq!(made["linux"]["resources"]["memory"], json!({"swappiness": 7}));
    assert!(document(&spec, &Facts { cgroup_v2: true, ..facts() }).is_err());
}

#[test]
fn impossible_specs_are_refused() {
    let ulimit = |name: &str, soft, hard| vec![Ulimit { name: name.into(), soft, hard }];
    let bind = |target: &str| {
        vec![BindMount { source: "/x".into(), target: target.into(), read_only: false, fill: None, as_is: false }]
    };
    let rows = [
        ContainerSpec { args: vec![], ..spec() },
        ContainerSpec { args: vec![String::new()], ..spec() },
        ContainerSpec { cgroup_path: "relative".into(), ..spec() },
        ContainerSpec { cgroup_path: "/a/../b".into(), ..spec() },
        ContainerSpec { ulimits: ulimit("nope", 1, 1), ..spec() },
        ContainerSpec { ulimits: ulimit("nofile", 2, 1), ..spec() },
        ContainerSpec { mounts: bind("etc/hosts"), ..spec() },
        ContainerSpec { mounts: bind("/a/../../b"), ..spec() },
        ContainerSpec {
            tmpfs: vec![Tmpfs { target: "/t".into(), size: None, options: vec!["lowerdir=/".into()] }],
            ..spec()
        },
        ContainerSpec { cap_add: vec!["NOPE".into()], ..spec() },
        ContainerSpec { env: vec!["A=\0".into()], ..spec() },
    ];
    for row in rows {
        let got = document(&row, &facts());
        assert!(matches!(got, Err(CreateError::InvalidSpec(_))), "{row:?}: {got:?}");
    }
}

#[test]
fn seccomp_follows_capabilities() {
    let text = |caps: &[&str]| {
        let add: Vec<_> = caps.iter().map(|c| (*c).to_owned()).collect();
        document(&ContainerSpec { cap_add: add, ..spec() }, &facts()).unwrap()["linux"]["seccomp"].to_string()
    };
    assert!(!text(&[]).contains("\"umount2\""));
    assert!(text(&[]).contains("SCMP_CMP_MASKED_EQ"));
    assert!(text(&["SYS_ADMIN"]).contains("\"umount2\""));
    assert!(!text(&["SYS_ADMIN"]).contains("SCMP_CMP_MASKED_EQ"));
    assert!(text(&["SYS_TIME"]).contains("\"settimeofday\""));
}

#[test]
fn users_of_ones_own_come_before_all_else_and_have_no_devices() {
    let mapping = crate::userns::IdMapping { first_user: 100_000, first_group: 200_000, count: 65_536 };
    let own = || ContainerSpec {
        userns: Some(crate::userns::UserNamespace { path: "/run/netns/t-user".into(), mapping }),
        ..spec()
    };
    let without = Facts { devices: Vec::new(), ..facts() };
    let document = document(&own(), &without).unwrap();
    let linux = &document["linux"];
    assert_eq!(linux["namespaces"][0], json!({"type": "user", "path": "/run/netns/t-user"}));
    assert_eq!(linux["uidMappings"], json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]));
    assert_eq!(linux["gidMappings"], json!([{"containerID": 0, "hostID": 200_000, "size": 65_536}]));
    let refused = [
        super::document(&ContainerSpec { privileged: true, ..own() }, &without),
        super::document(&ContainerSpec { oci_runtime: OciRuntime::Runsc, ..own() }, &without),
        super::document(&own(), &facts()),
    ];
    for document in refused {
        assert!(matches!(document, Err(CreateError::InvalidSpec(_))), "{document:?}");
    }
}
