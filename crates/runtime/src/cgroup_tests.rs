//! Both layouts against a directory that plays the kernel's part, and the machine's own against the kernel.

use super::*;

fn limits() -> Resources {
    Resources {
        cpu_shares: Some(1024),
        cpu_quota_us: Some(50_000),
        cpu_period_us: None,
        memory_limit: Some(1 << 26),
        memory_reservation: Some(1 << 25),
        memory_swap: None,
        swappiness: None,
        pids_limit: Some(100),
    }
}

fn v1(root: &Path) -> Cgroups {
    let hierarchies =
        ["cpu", "cpuacct", "memory", "pids"].map(|name| (vec![name.to_owned()], root.join(name))).to_vec();
    Cgroups { layout: Layout::V1 { hierarchies, unified: Some(root.join("unified")) } }
}

fn rendered(cgroups: &Cgroups, root: &Path, limits: &Resources) -> Vec<String> {
    let show = |(file, value): (PathBuf, String)| format!("{}={value}", file.strip_prefix(root).unwrap().display());
    cgroups.settings(Path::new("a/b"), limits).into_iter().map(show).collect()
}

#[test]
fn mounts_tell_the_layout() {
    let hybrid = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n\
        cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,nosuid,relatime,cpu,cpuacct 0 0\n\
        cgroup /sys/fs/cgroup/systemd cgroup rw,name=systemd 0 0\n\
        cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n\
        cgroup /mnt/other/cpu cgroup rw,cpu 0 0\n";
    let found = Cgroups::from_mounts(hybrid).unwrap();
    assert!(!found.is_v2());
    assert_eq!(found.dir("cpuacct", Path::new("x")), Some(PathBuf::from("/sys/fs/cgroup/cpu,cpuacct/x")));
    assert_eq!(found.roots().count(), 3);
    let pure = Cgroups::from_mounts("cgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n").unwrap();
    assert!(pure.is_v2());
    assert_eq!(Cgroups::from_mounts("proc /proc proc rw 0 0\n"), None);
}

#[test]
fn limits_are_rendered_for_both_versions() {
    let root = Path::new("/r");
    assert_eq!(
        rendered(&v1(root), root, &limits()),
        [
            "cpu/a/b/cpu.shares=1024",
            "cpu/a/b/cpu.cfs_period_us=100000",
            "cpu/a/b/cpu.cfs_quota_us=50000",
            "memory/a/b/memory.limit_in_bytes=67108864",
            "memory/a/b/memory.soft_limit_in_bytes=33554432",
            "pids/a/b/pids.max=100",
        ]
    );
    let v2 = Cgroups { layout: Layout::V2 { root: root.to_owned() } };
    assert_eq!(
        rendered(&v2, root, &limits()),
        [
            "a/b/cpu.weight=39",
            "a/b/cpu.max=50000 100000",
            "a/b/memory.max=67108864",
            "a/b/memory.low=33554432",
            "a/b/pids.max=100",
        ]
    );
    assert!(rendered(&v2, root, &Resources::default()).is_empty());
    let unlimited = Resources { cpu_quota_us: Some(-1), pids_limit: Some(0), ..Resources::default() };
    assert_eq!(rendered(&v2, root, &unlimited), ["a/b/cpu.max=max 100000", "a/b/pids.max=max"]);
    assert_eq!((weight(0), weight(2), weight(1024), weight(1 << 30)), (1, 1, 39, 10_000));
}

#[test]
fn version_two_hands_controllers_down() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().to_owned();
    let file = |path: &str, text: &str| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    for level in ["", "a/"] {
        file(&format!("{level}cgroup.controllers"), "cpu io memory pids\n");
        file(&format!("{level}cgroup.subtree_control"), "");
    }
    file("a/b/cpu.weight", "");
    file("a/b/cpu.stat", "usage_usec 1500\nuser_usec 1000\n");
    file("a/b/memory.current", "4096\n");
    file("a/b/memory.events", "low 0\noom 2\noom_kill 1\noom_group_kill 0\n");
    file("a/b/pids.current", "3\n");
    let cgroups = Cgroups { layout: Layout::V2 { root: root.clone() } };
    let weight = Resources { cpu_shares: Some(2), ..Resources::default() };
    cgroups.ensure("/a/b", &weight).unwrap();
    for level in ["", "a"] {
        assert_eq!(fs::read_to_string(root.join(level).join("cgroup.subtree_control")).unwrap(), "+cpu +memory +pids");
    }
    assert_eq!(fs::read_to_string(root.join("a/b/cpu.weight")).unwrap(), "1");
    assert_eq!(cgroups.cpu_usage("/a/b"), Some(Duration::from_micros(1500)));
    assert_eq!(cgroups.memory_usage("/a/b"), Some(4096));
    assert_eq!(cgroups.oom_kills("/a/b"), Some(1));
    assert_eq!(cgroups.pids_current("/a/b"), Some(3));
    assert_eq!(cgroups.memory_usage("/nope"), None);
}

#[test]
fn paths_stay_inside() {
    let cgroups = v1(Path::new("/r"));
    for bad in ["a/b", "/a/../b", "/./a", ""] {
        assert!(cgroups.ensure(bad, &Resources::default()).is_err(), "{bad}");
    }
}

#[tokio::test]
async fn a_group_of_this_machine_holds_kills_and_goes() {
    let cgroups = Cgroups::detect().unwrap();
    let effects = Effects::real();
    let top = format!("/longshore-unit-{}", std::process::id());
    let path = format!("{top}/task");
    let small = Resources { memory_limit: Some(64 << 20), cpu_shares: Some(128), ..Resources::default() };
    let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let made = cgroups.ensure(&path, &small).and_then(|()| cgroups.ensure(&path, &small));
    let added = cgroups.add_pid(&path, child.id());
    let seen = cgroups.pids(&top);
    let child_pid = rustix::process::Pid::from_child(&child);
    let held = [top.as_str(), &path, "/longshore-uni"].map(|group| cgroups.holds(group, child_pid));
    let usage = (cgroups.cpu_usage(&path), cgroups.memory_usage(&path), cgroups.oom_kills(&path));
    let root = cgroups.remove("/", &effects).await;
    let removed = cgroups.remove(&top, &effects).await;
    let _ = child.kill();
    let status = child.wait().unwrap();
    made.unwrap();
    added.unwrap();
    assert_eq!(seen.unwrap(), [i32::try_from(child.id()).unwrap()]);
    assert!(usage.0.is_some() && usage.1.is_some() && usage.2 == Some(0), "{usage:?}");
    assert_eq!(held, [true, true, false]);
    assert!(root.is_err());
    removed.unwrap();
    assert!(!status.success());
    assert!(!cgroups.exists(&top));
    cgroups.remove(&top, &effects).await.unwrap();
}
