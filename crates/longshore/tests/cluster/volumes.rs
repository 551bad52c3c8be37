//! Volumes, seen from inside the containers that have them, and what is left of them on the instance.

use crate::{
    harness::{Cluster, until},
    sharing::{container, of, run, said},
};
use serde_json::json;
use std::{fs, path::Path};

const STAYS: &str = "trap 'exit 0' TERM; while :; do sleep 0.1; done";

/// Below the agent's folder.
fn volumes(cluster: &Cluster) -> std::path::PathBuf {
    let instance = cluster.agents().into_keys().next().unwrap();
    cluster.data().join("instances").join(instance).join("volumes")
}

#[test]
fn volumes_are_shown_filled_and_removed_as_the_definition_says() {
    let mut cluster = Cluster::start(1);
    let api = cluster.api();
    let (more, host) = (cluster.path("more"), cluster.path("host/made"));
    fs::create_dir_all(more.join("data")).unwrap();
    fs::write(more.join("data/of-image"), "image").unwrap();
    std::os::unix::fs::chown(more.join("data"), Some(1000), Some(1001)).unwrap();
    // An image may say that a mount point is somewhere on the machine.
    let outside = cluster.path("outside");
    fs::create_dir_all(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, more.join("trap")).unwrap();
    let image = cluster.image_with(&more);
    let all = json!([
        {"name": "empty"}, {"name": "host", "host": {"sourcePath": host}}, {"name": "filled", "dockerVolumeConfiguration": {"scope": "task"}},
        {"name": "memory", "dockerVolumeConfiguration": {"scope": "task", "driver": "local",
            "driverOpts": {"type": "tmpfs", "device": "tmpfs", "o": "size=1m,mode=1777,noexec"}}},
        {"name": "shared", "dockerVolumeConfiguration": {"scope": "shared", "autoprovision": true, "labels": {"l": "v"}}},
    ]);
    let mount = |volume: &str, path: &str, read_only: bool| json!({"sourceVolume": volume, "containerPath": path, "readOnly": read_only});
    // The inner one first: it is seen all the same. What is below a link of the image stays within the image.
    let points = json!([
        mount("empty", "/out/in", false),
        mount("host", "/out", false),
        mount("filled", "/more/data", false),
        mount("memory", "/memory", false),
        mount("shared", "/shared", false),
        mount("empty", "/more/trap/inner", false)
    ]);
    let writer = "touch /out/in/inner /out/outer /shared/kept /memory/file; \
                  echo owner=$(stat -c %u:%g /more/data) data=$(ls /more/data); echo memory=$(df -k /memory | tail -n 1); \
                  busybox ln -s /etc /out/in/link; echo trap=$(ls /more/trap/inner/); echo done=1";
    let main =
        container(&cluster, "main", &format!("{writer}; {STAYS}"), &json!({"image": image, "mountPoints": points}));
    let reader = "until [ -e /shared/kept ] && [ -e /memory/file ]; do sleep 0.1; done; \
                  echo in=$(ls /out/in/) out=$(ls /out); (echo x > /out/in/mine) 2> /dev/null && echo wrote=1; \
                  (echo x > /own/mine) 2> /dev/null && echo own=1; echo done=1";
    let from = json!({"volumesFrom": [{"sourceContainer": "main", "readOnly": true}], "mountPoints": [mount("filled", "/own", false)]});
    let reader = container(&cluster, "reader", reader, &from);
    let task = run(&cluster, &api, "volumes", &[main, reader], &json!({"volumes": all}));
    let wrote = said(&cluster, &api, &task, "main", "done=");
    assert_eq!(of(&wrote, "owner"), ["1000:1001 data=of-image"], "{wrote:?}");
    assert!(of(&wrote, "memory")[0].contains(" 1024 "), "{wrote:?}");
    assert_eq!(of(&wrote, "trap"), ["inner link"], "{wrote:?}");
    let read = said(&cluster, &api, &task, "reader", "done=");
    assert_eq!(
        (of(&read, "in"), of(&read, "wrote"), of(&read, "own")),
        (vec!["inner link out=in outer"], vec![], vec!["1"]),
        "{read:?}"
    );
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "a link of the image led out of it");
    assert!(host.join("outer").exists() && !host.join("in/inner").exists());

    let id = task.rsplit('/').next().unwrap();
    let own = volumes(&cluster).join("tasks").join(id);
    assert!(own.join("empty/data/inner").exists());
    cluster.kill_its_agent();
    assert!(own.join("empty/data/inner").exists(), "another agent knows whose it is");
    api.ecs("StopTask", &json!({"task": task}));
    cluster.wait(&task, "STOPPED");
    assert!(!own.exists() && host.join("outer").exists());
    assert!(!fs::read_to_string("/proc/thread-self/mounts").unwrap().contains(&format!("task-{id}-memory")));
    assert!(fs::read_to_string("/etc/passwd").is_ok(), "what a link in a volume leads to is not removed with it");
    let shared = volumes(&cluster).join("shared/shared");
    assert!(
        shared.join("data/kept").exists() && fs::read_to_string(shared.join("volume.json")).unwrap().contains("\"l\"")
    );

    // Another task finds the shared one, and one that nobody made is not made for who does not ask for it.
    let known = |name: &str| json!({"volumes": [{"name": name, "dockerVolumeConfiguration": {"scope": "shared"}}]});
    let looks = |name: &str| json!({"mountPoints": [mount(name, "/s", false)]});
    let main = container(&cluster, "main", "echo found=$(ls /s); echo done=1", &looks("shared"));
    let task = run(&cluster, &api, "again", &[main], &known("shared"));
    assert_eq!(of(&said(&cluster, &api, &task, "main", "done="), "found"), ["kept"]);
    let main = container(&cluster, "main", "true", &looks("nowhere"));
    let stopped = cluster.wait(&run(&cluster, &api, "nowhere", &[main], &known("nowhere")), "STOPPED");
    let reason = stopped["containers"][0]["reason"].as_str().unwrap();
    assert!(reason.starts_with("CannotCreateVolumeError: volume 'nowhere': it is not on this instance"), "{reason}");
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}

/// What an image declares is a volume of the container's: on a root that cannot be written, for others that take it, and as long as
/// the task lives.
#[test]
fn volumes_that_an_image_declares_are_as_with_docker() {
    use std::os::unix::fs::PermissionsExt;
    let mut cluster = Cluster::start(1);
    let api = cluster.api();
    let more = cluster.path("more");
    for folder in ["data", "covered", "memory"] {
        fs::create_dir_all(more.join(folder)).unwrap();
        fs::write(more.join(folder).join("of-image"), "image").unwrap();
    }
    std::os::unix::fs::chown(more.join("data"), Some(1000), Some(1001)).unwrap();
    fs::set_permissions(more.join("data"), fs::Permissions::from_mode(0o750)).unwrap();
    let declared = ["/more/data/", "/made/there", "/more/covered", "/more/memory"];
    let image = cluster.image_declaring("declares", &more, &declared);
    let writes = "echo data=$(stat -c %u:%g:%a /more/data) $(ls /more/data); echo memory=$(df -k /more/memory | tail -n 1); \
                  (: > /x) 2> /dev/null && echo wrote=root; echo main > /more/data/written && echo wrote=data; \
                  echo main > /made/there/written && echo wrote=made; echo main > /more/covered/written; echo done=1";
    let covers = json!({
        "image": image, "readonlyRootFilesystem": true, "mountPoints": [{"sourceVolume": "v", "containerPath": "/more/covered"}],
        "linuxParameters": {"tmpfs": [{"containerPath": "/more/memory", "size": 1}]}});
    let main = container(&cluster, "main", &format!("{writes}; {STAYS}"), &covers);
    let reads = "until [ -e /more/covered/written ]; do sleep 0.1; done; \
                 echo data=$(cat /more/data/written) $(stat -c %u:%g:%a /more/data) $(ls /more/data); echo made=$(cat /made/there/written); \
                 for at in /more/data /made/there /more/covered; do (: > $at/mine) 2> /dev/null && echo wrote=$at; done; \
                 (: > /more/memory/mine) && echo memory=$(ls /more/memory); echo done=1";
    let takes = json!({"image": image, "volumesFrom": [{"sourceContainer": "main", "readOnly": true}]});
    let other = container(&cluster, "other", &format!("{reads}; {STAYS}"), &takes);
    let apart = format!("echo data=$(ls /more/data); (: > /x) && echo wrote=root; echo done=1; {STAYS}");
    let apart = container(&cluster, "apart", &apart, &json!({"image": image}));
    let task = run(&cluster, &api, "declared", &[main, other, apart], &json!({"volumes": [{"name": "v"}]}));
    let lines = said(&cluster, &api, &task, "main", "done=");
    assert_eq!(of(&lines, "data"), ["1000:1001:750 of-image"], "{lines:?}");
    assert_eq!(of(&lines, "wrote"), ["data", "made"], "{lines:?}");
    assert!(of(&lines, "memory")[0].contains(" 1024 "), "{lines:?}");
    let lines = said(&cluster, &api, &task, "other", "done=");
    assert_eq!(of(&lines, "data"), ["main 1000:1001:750 of-image written"], "{lines:?}");
    assert_eq!((of(&lines, "made"), of(&lines, "wrote")), (vec!["main"], vec![]), "{lines:?}");
    assert_eq!(of(&lines, "memory"), ["mine of-image"], "its own: memory is nobody else's: {lines:?}");
    let lines = said(&cluster, &api, &task, "apart", "done=");
    assert_eq!((of(&lines, "data"), of(&lines, "wrote")), (vec!["of-image"], vec!["root"]), "{lines:?}");

    let own = volumes(&cluster).join("tasks").join(task.rsplit('/').next().unwrap());
    let folders = || {
        let names = fs::read_dir(&own).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(folders().into_iter().collect::<Vec<_>>(), [".image-0", ".image-1", ".image-2", "v"]);
    cluster.kill_its_agent();
    assert_eq!(folders().len(), 4, "another agent knows whose they are");
    assert_eq!(cluster.task(&task)["lastStatus"], "RUNNING");
    api.ecs("StopTask", &json!({"task": task}));
    cluster.wait(&task, "STOPPED");
    assert!(!own.exists());

    // Where there are other things: files of ours are seen in them, and a link of the image leads within it.
    fs::create_dir_all(more.join("real")).unwrap();
    std::os::unix::fs::symlink("real", more.join("link")).unwrap();
    let odd = ["/etc", "/dev/shm", "/tmp", "/more/link", "/sys/fs/cgroup", "/more", "/more/data"];
    let image = cluster.image_declaring("odd", &more, &odd);
    let script = format!(
        "for at in {}; do (: > $at/mine) && echo wrote=$at; done; echo own=$(cat /etc/hostname) $HOSTNAME; \
         echo real=$(ls /more/real) data=$(ls /more/data); grep -q app /etc/passwd && echo filled=1; echo done=1",
        odd.join(" ")
    );
    let main = container(&cluster, "main", &script, &json!({"image": image, "readonlyRootFilesystem": true}));
    let lines = said(&cluster, &api, &run(&cluster, &api, "odd", &[main], &json!({})), "main", "done=");
    assert_eq!((of(&lines, "wrote"), of(&lines, "filled")), (odd.to_vec(), vec!["1"]), "{lines:?}");
    assert_eq!(of(&lines, "real"), ["mine data=mine of-image"], "{lines:?}");
    let (own, hostname) = of(&lines, "own")[0].split_once(' ').unwrap();
    assert_eq!(own, hostname);

    // What nobody could have.
    let many: Vec<String> = (0..129).map(|number| format!("/v{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let rows: [(&str, &[&str], &str); 4] = [
        ("root", &["/a/.."], "invalid volume specification: '/a/..': invalid mount config: destination can't be '/'"),
        ("proc", &["/proc/sys"], "destination can't be in '/proc'"),
        ("many", &many, "the image declares 129 volumes"),
        ("file", &["/more/data/of-image"], "ot a directory"),
    ];
    for (tag, declared, words) in rows {
        let image = cluster.image_declaring(tag, &more, declared);
        let main = container(&cluster, "main", "true", &json!({"image": image}));
        let stopped = cluster.wait(&run(&cluster, &api, tag, &[main], &json!({})), "STOPPED");
        let reason = stopped["containers"][0]["reason"].as_str().unwrap();
        assert!(reason.starts_with("Cannot") && reason.contains(words), "{reason}");
    }
    assert_eq!(fs::read_dir(volumes(&cluster).join("tasks")).unwrap().count(), 0);
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}

/// Whatever a task has in a volume, no other agent keeps it once the task is gone: killed at any moment.
#[test]
fn an_agent_killed_again_and_again_leaves_no_volume_behind() {
    let mut cluster = Cluster::start(1);
    let api = cluster.api();
    let more = cluster.path("more");
    fs::create_dir_all(more.join("declared")).unwrap();
    fs::write(more.join("declared/of-image"), "").unwrap();
    let image = cluster.image_declaring("declares", &more, &["/more/declared"]);
    let volume = json!({"volumes": [{"name": "v"}, {"name": "m", "dockerVolumeConfiguration": {
        "driverOpts": {"type": "tmpfs", "device": "tmpfs"}}}], "pidMode": "task", "ipcMode": "task"});
    let points = json!([{"sourceVolume": "v", "containerPath": "/v"}, {"sourceVolume": "m", "containerPath": "/m"}]);
    // Deeper than a path may be long.
    let deep = "cd /v; i=0; while [ $i -lt 40 ]; do d=$(printf %0200d $i); mkdir $d && cd $d; i=$((i+1)); done";
    let script = format!("{deep}; touch /m/file /more/declared/file; {STAYS}");
    let main = container(&cluster, "main", &script, &json!({"image": image, "mountPoints": points}));
    let mut tasks = Vec::new();
    for round in 0..3 {
        tasks.push(run(&cluster, &api, &format!("round{round}"), std::slice::from_ref(&main), &volume));
        if round == 1 {
            cluster.wait(&tasks[0], "RUNNING");
            api.ecs("StopTask", &json!({"task": tasks[0]}));
        }
        cluster.kill_its_agent();
    }
    for task in &tasks {
        api.ecs("StopTask", &json!({"task": task}));
        cluster.wait(task, "STOPPED");
    }
    let left = |dir: &Path| fs::read_dir(dir).map(|entries| entries.count()).unwrap_or(0);
    assert_eq!(left(&volumes(&cluster).join("tasks")), 0);
    let mounts = fs::read_to_string("/proc/thread-self/mounts").unwrap();
    for id in tasks.iter().map(|task| task.rsplit('/').next().unwrap()) {
        assert!(!mounts.contains(id), "{mounts}");
    }
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}

/// A volume that is configured at launch is a disk of its size: it holds that much and no more, outlives its agent, and goes with its
/// task. Those of a service are each another one.
#[test]
fn a_volume_configured_at_launch_is_a_disk_of_its_size() {
    let mut cluster = Cluster::start(1);
    let api = cluster.api();
    let said_of = |name: &str, gib: u32| {
        json!([{"name": name, "managedEBSVolume": {"sizeInGiB": gib, "filesystemType": "ext4", "volumeType": "gp3",
        "roleArn": "arn:aws:iam::000000000000:role/ecsInfrastructure"}}])
    };
    let fills = "busybox fallocate -l 900M /data/fits && echo fits=1; busybox fallocate -l 400M /data/more 2> /dev/null || echo full=1; \
                 echo device=$(df -k /data | tail -n 1); echo done=1";
    let points = json!({"mountPoints": [{"sourceVolume": "data", "containerPath": "/data"}]});
    let main = container(&cluster, "main", &format!("{fills}; {STAYS}"), &points);
    let definition = json!({"family": "database", "containerDefinitions": [main], "volumes": [{"name": "data", "configuredAtLaunch": true}]});
    let definition = api.ecs("RegisterTaskDefinition", &definition);
    assert_eq!(definition["taskDefinition"]["volumes"], json!([{"name": "data", "configuredAtLaunch": true}]));
    let refused = |more: &serde_json::Value| {
        let mut request = json!({"taskDefinition": "database"});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        format!("{:?}", api.try_ecs("RunTask", &request).unwrap_err())
    };
    let missing = refused(&json!({}));
    assert!(missing.contains("'data' is configured at launch"), "{missing}");
    let unknown = refused(&json!({"volumeConfigurations": said_of("other", 1)}));
    assert!(unknown.contains("no volume 'other'"), "{unknown}");
    let large = refused(&json!({"volumeConfigurations": said_of("data", 16_385)}));
    assert!(large.contains("between 1 and 16384"), "{large}");

    let run = api.ecs("RunTask", &json!({"taskDefinition": "database", "volumeConfigurations": said_of("data", 1)}));
    let task = run["tasks"][0]["taskArn"].as_str().unwrap().to_owned();
    let said = said(&cluster, &api, &task, "main", "done=");
    assert_eq!((of(&said, "fits"), of(&said, "full")), (vec!["1"], vec!["1"]), "{said:?}");
    assert!(of(&said, "device")[0].starts_with("/dev/loop"), "{said:?}");
    let shown = cluster.task(&task)["attachments"][0].clone();
    assert_eq!(
        (&shown["type"], &shown["status"]),
        (&json!("AmazonElasticBlockStorage"), &json!("ATTACHED")),
        "{shown}"
    );
    assert!(shown["details"].as_array().unwrap().contains(&json!({"name": "sizeInGiB", "value": "1"})), "{shown}");

    let disks = volumes(&cluster).join("disks");
    let id = task.rsplit('/').next().unwrap();
    cluster.kill_its_agent();
    assert!(disks.join(id).join("fits").exists(), "another agent knows whose it is");
    api.ecs("StopTask", &json!({"task": task}));
    cluster.wait(&task, "STOPPED");
    assert_eq!(fs::read_dir(&disks).unwrap().count(), 0);
    assert_eq!(cluster.task(&task)["attachments"][0]["status"], "DELETED");

    let service = json!({"serviceName": "databases", "taskDefinition": "database", "desiredCount": 2, "volumeConfigurations": said_of("data", 1)});
    let made = api.ecs("CreateService", &service);
    let shown = &made["service"]["deployments"][0]["volumeConfigurations"];
    assert_eq!(*shown, said_of("data", 1));
    until("a disk for each task", || (fs::read_dir(&disks).unwrap().count() == 4).then_some(()));
    let update = json!({"service": "databases", "volumeConfigurations": []});
    let refused = format!("{:?}", api.try_ecs("UpdateService", &update).unwrap_err());
    assert!(refused.contains("'data' is configured at launch"), "{refused}");
    api.ecs("DeleteService", &json!({"service": "databases", "force": true}));
    until("the disks to go", || (fs::read_dir(&disks).unwrap().count() == 0).then_some(()));
    assert!(cluster.stop_server());
    assert_eq!(cluster.traces(), Vec::<String>::new());
}
