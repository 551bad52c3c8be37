//! What mounts a folder, on a file system that needs no server; and the kernel's table.

use super::*;
use std::os::unix::fs::symlink;

#[test]
fn a_mount_is_found_by_its_place_and_tells_its_server() {
    let table = b"22 1 0:5 / /run/efs rw - tmpfs tmpfs rw\n\
        30 22 0:40 / /run/efs/a\\040b rw,nosuid shared:1 - nfs4 10.0.0.5:/export rw,vers=4.1,port=2050,addr=10.0.0.5\n\
        31 22 0:41 / /run/efs/c rw - nfs4 nas:/ rw,vers=4.1,clientaddr=10.0.0.1,addr=fd00::1\n";
    let found = |at: &str| find(table, Path::new(at));
    assert_eq!(found("/run/efs/a b"), Some(Some("10.0.0.5:2050".parse().unwrap())));
    assert_eq!(found("/run/efs/c"), Some(Some("[fd00::1]:2049".parse().unwrap())));
    assert_eq!(found("/run/efs"), Some(None));
    assert_eq!(found("/run/efs/d"), None);

    let table = b"30 22 0:40 / /run/efs/a rw - nfs4 nas:/a rw,port=20049,addr=127.0.0.2\n\
        31 22 0:41 / /run/efs/b rw - nfs4 nas:/b rw,port=20050,clientaddr=127.0.0.1,addr=127.0.0.2\n\
        32 22 0:42 / /run/efs/c rw - nfs4 nas:/c rw,port=20051,clientaddr=127.0.0.1,addr=10.0.0.5\n\
        33 22 0:43 / /run/efsx/d rw - nfs4 nas:/d rw,port=20052,addr=127.0.0.2\n";
    assert_eq!(tunnels(table, Path::new("/run/efs")), HashSet::from([20_049, 20_050]));
}

/// An overlay of a folder that we have filled, under one name after the other: what is mounted, or what is said.
struct Folders {
    dir: tempfile::TempDir,
}

impl Folders {
    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join("mounts").join(name)
    }

    async fn mount(&self, name: &str, folder: &str) -> io::Result<PathBuf> {
        let at = self.at(name);
        fs::create_dir_all(&at)?;
        let options = format!("lowerdir={0}/export:{0}/none", self.dir.path().display());
        let mut command = mounting(&self.dir.path().join("bin"), ["overlay", &options, "nas:/export", folder], &at)?;
        dies_with_us(&mut command);
        run(command, MOUNT).await.map(|()| at)
    }

    fn mounted(&self) -> usize {
        let below = self.dir.path().display().to_string();
        let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        table.lines().filter(|line| line.contains(&below)).count()
    }
}

impl Drop for Folders {
    fn drop(&mut self) {
        for entry in fs::read_dir(self.dir.path().join("mounts")).into_iter().flatten().flatten() {
            let _ = rustix::mount::unmount(entry.path(), rustix::mount::UnmountFlags::DETACH);
        }
    }
}

#[tokio::test]
async fn a_folder_is_mounted_and_nothing_that_a_link_leads_to() {
    let folders = Folders { dir: tempfile::tempdir().unwrap() };
    let (top, export) = (folders.dir.path(), folders.dir.path().join("export"));
    for made in ["none", "other", "export/app/web", "export/app/with space"] {
        fs::create_dir_all(top.join(made)).unwrap();
    }
    fs::write(top.join("other/secret"), "s").unwrap();
    fs::write(export.join("file"), "f").unwrap();
    fs::write(export.join("app/web/page"), "p").unwrap();
    for (link, to) in [
        ("inside", "app"),
        ("absolute", "/app"),
        ("machine", "/etc"),
        ("up", "../other"),
        ("app/up", "../.."),
        ("app/self", "."),
        ("around", "around"),
        ("process", "/proc/self/root"),
    ] {
        symlink(to, export.join(link)).unwrap();
    }
    symlink(top.join("other"), export.join("other")).unwrap();

    let nothing = "reason given by server: No such file or directory";
    for (folder, why) in [
        ("/missing", nothing),
        ("/app/missing/web", nothing),
        ("/file", "reason given by server: Not a directory"),
        ("/file/web", "reason given by server: Not a directory"),
        ("/inside", "(symbolic links are not followed)"),
        ("/inside/web", "(symbolic links are not followed)"),
        ("/absolute", "(symbolic links are not followed)"),
        ("/machine", "(symbolic links are not followed)"),
        ("/up", "(symbolic links are not followed)"),
        ("/app/up", "(symbolic links are not followed)"),
        ("/app/up/other", "(symbolic links are not followed)"),
        ("/app/self/web", "(symbolic links are not followed)"),
        ("/around", "(symbolic links are not followed)"),
        ("/process/etc", "(symbolic links are not followed)"),
        ("/other", "(symbolic links are not followed)"),
        // No server tells these; the program does not depend on it.
        ("/../other", nothing),
        ("/app/../../other", nothing),
    ] {
        let said = folders.mount("refused", folder).await.map(drop).unwrap_err().to_string();
        let begins = format!("mounting nas:/export{folder} failed, reason given by server: ");
        assert!(said.starts_with(&begins) && said.contains(why), "{folder}: {said}");
        assert_eq!((folders.mounted(), fs::read_dir(folders.at("refused")).unwrap().count()), (0, 0), "{folder}");
    }

    for (name, folder, holds) in
        [("root", "/", "app/web/page"), ("web", "/app/web", "page"), ("space", "/app/with space", "")]
    {
        let at = folders.mount(name, folder).await.unwrap();
        assert!(at.join(holds).exists(), "{folder}");
        assert_eq!(fs::read_dir(&at).unwrap().count(), fs::read_dir(export.join(&folder[1..])).unwrap().count());
    }
    assert_eq!(folders.mounted(), 3, "the whole file system is mounted nowhere");
    let flags = rustix::fs::statvfs(folders.at("web")).unwrap().f_flag;
    assert!(flags.contains(rustix::fs::StatVfsMountFlags::NOSUID | rustix::fs::StatVfsMountFlags::NODEV), "{flags:?}");
}
