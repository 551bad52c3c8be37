//! Where a task's volumes of EFS are: what the server's options say of their file systems and access points.
//!
//! Why one cannot be had is said in the words of AWS's mount helper as far as they fit. It looks for a name in DNS, we for an option.

use crate::config::Config;
use link::{ExportedFolder, Provision};
use model::{AccessPoint, EfsVolume};

/// A task that has its volume already goes on, whatever the server was told since: what is wrong is said by volume.
pub(super) fn tell<'a>(
    config: &Config,
    volumes: impl Iterator<Item = (&'a str, &'a EfsVolume)>,
    provision: &mut Provision,
) {
    for (name, volume) in volumes {
        if let Err(why) = one(config, name, volume, provision) {
            provision.unresolved.insert(name.to_owned(), why);
        }
    }
}

fn one(config: &Config, name: &str, volume: &EfsVolume, provision: &mut Provision) -> Result<(), String> {
    let id = &volume.file_system_id;
    let unresolved = || {
        failed(
            format_args!(
                "Failed to resolve \"{id}\" - check that your file system ID is correct, and ensure that the server was told where it is (--efs)"
            ),
            1,
        )
    };
    let file_system = config.file_systems.get(id).ok_or_else(unresolved)?;
    let point = volume.access_point.as_ref().map(|point| access_point(config, id, point)).transpose()?;
    let folder = volume.folder(point).ok_or_else(unresolved)?;
    if file_system.tls {
        let encrypted = provision.encrypted.get_or_insert_default();
        let folder = ExportedFolder { export: file_system.export.clone(), folder };
        encrypted.file_systems.insert(name.to_owned(), folder);
        encrypted.authorities.clone_from(&config.efs_authorities);
        return Ok(());
    }
    if volume.transit_encryption == Some(true) {
        let what = format_args!(
            "Failed to initialize TLS tunnel for {id} - the server was told of an export that is not reached over TLS (--efs {id}=tls://HOST/PATH)"
        );
        return Err(failed(what, 1));
    }
    let export = file_system.export.below(&folder).ok_or_else(unresolved)?;
    provision.file_systems.insert(name.to_owned(), export);
    Ok(())
}

/// AWS: a file system denies whoever comes through an access point that it does not have.
fn access_point<'a>(config: &'a Config, file_system: &str, id: &str) -> Result<&'a AccessPoint, String> {
    config.access_points.get(id).filter(|point| point.file_system == file_system).ok_or_else(|| {
        let what = format_args!(
            "mount.nfs4: access denied by server while mounting {file_system}:/ - ensure that the server was told of its access point {id} (--efs-access-point)"
        );
        failed(what, 32)
    })
}

fn failed(what: std::fmt::Arguments<'_>, code: u8) -> String {
    format!(
        "ResourceInitializationError: failed to invoke EFS utils commands to set up EFS volumes: stderr: {what} : unsuccessful EFS utils \
         command execution; code: {code}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encrypted_is_told_apart_and_what_is_wrong_by_volume() {
        let mut config = Config::new("/nowhere".into());
        for (id, place) in [("fs-00000001", "nas:/plain"), ("fs-00000002", "tls://nas.example:20490/export")] {
            config.file_systems.insert(id.to_owned(), place.parse().unwrap());
        }
        for (id, place) in [("fsap-00000001", "fs-00000001:/web"), ("fsap-00000002", "fs-00000002:/web")] {
            config.access_points.insert(id.to_owned(), place.parse().unwrap());
        }
        config.efs_authorities = Some("PEM".to_owned());
        let tell = |file_system: &str, encryption, root: Option<&str>, point: Option<&str>| {
            let volume = EfsVolume {
                file_system_id: file_system.into(),
                transit_encryption: encryption,
                root_directory: root.map(str::to_owned),
                access_point: point.map(str::to_owned),
                ..EfsVolume::default()
            };
            let mut provision = Provision::default();
            super::tell(&config, [("v", &volume)].into_iter(), &mut provision);
            let plain = provision.file_systems.remove("v").map(|export| export.to_string());
            let encrypted = provision.encrypted.map(|mut told| {
                assert_eq!(told.authorities.as_deref(), Some("PEM"));
                let told = told.file_systems.remove("v").unwrap();
                format!("{} {}", told.export, told.folder)
            });
            (plain, encrypted, provision.unresolved.remove("v").unwrap_or_default())
        };
        let plain = |path: &str| (Some(format!("nas:{path}")), None, String::new());
        let encrypted = |folder: &str| (None, Some(format!("nas.example:/export {folder}")), String::new());
        assert_eq!(tell("fs-00000001", None, Some("/a"), None), plain("/plain/a"));
        assert_eq!(tell("fs-00000001", Some(false), None, None), plain("/plain"));
        // Whoever does not ask for encryption gets it where there is nothing else.
        for encryption in [None, Some(false), Some(true)] {
            assert_eq!(tell("fs-00000002", encryption, Some("/a"), None), encrypted("/a"));
        }
        assert_eq!(tell("fs-00000002", Some(true), None, Some("fsap-00000002")), encrypted("/web"));

        for (file_system, point, why, code) in [
            ("fs-00000003", None, "Failed to resolve \"fs-00000003\"", 1),
            ("fs-00000001", None, "Failed to initialize TLS tunnel for fs-00000001 - ", 1),
            ("fs-00000001", Some("fsap-00000001"), "Failed to initialize TLS tunnel for fs-00000001 - ", 1),
            (
                "fs-00000002",
                Some("fsap-00000001"),
                "mount.nfs4: access denied by server while mounting fs-00000002:/",
                32,
            ),
            (
                "fs-00000002",
                Some("fsap-00000003"),
                "mount.nfs4: access denied by server while mounting fs-00000002:/",
                32,
            ),
        ] {
            let (plain, encrypted, said) = tell(file_system, Some(true), None, point);
            assert_eq!((plain, encrypted), (None, None), "{file_system} {point:?}");
            let begins =
                "ResourceInitializationError: failed to invoke EFS utils commands to set up EFS volumes: stderr: ";
            assert!(said.starts_with(&format!("{begins}{why}")), "{said}");
            assert!(said.ends_with(&format!(" : unsuccessful EFS utils command execution; code: {code}")), "{said}");
        }
    }
}
