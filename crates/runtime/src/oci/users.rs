//! Who a container runs as: Docker's reading of `user[:group]` against the image's own passwd and group files.

use crate::error::CreateError;

/// Numbers for the kernel, and the home directory for `HOME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Supplementary groups. The primary one is always among them, lest dropping it grant access (CVE-2022-36109).
    pub(crate) groups: Vec<u32>,
    pub(crate) home: String,
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

/// Resolves `user` with the texts of `/etc/passwd` and `/etc/group` (empty where the image has none).
pub(crate) fn resolve(user: &str, passwd: &str, group: &str) -> Result<Identity, CreateError> {
    let (user, wanted_group) = user.split_once(':').map_or((user, None), |(u, g)| (u, Some(g)));
    let user = if user.is_empty() { "0" } else { user };
    // A name wins over a number, as in Docker: a user may be called "1000".
    let account = accounts(passwd)
        .find(|a| a.name == user)
        .or_else(|| user.parse().ok().and_then(|uid: u32| accounts(passwd).find(|a| a.uid == uid)));
    let uid = match (&account, user.parse::<u32>()) {
        (Some(account), _) => account.uid,
        (None, Ok(uid)) => uid,
        (None, Err(_)) => {
            return Err(CreateError::InvalidSpec(format!(
                "unable to find user {user}: no matching entries in passwd file"
            )));
        }
    };
    let (gid, mut groups) = match wanted_group.filter(|g| !g.is_empty()) {
        Some(wanted) => (group_number(wanted, group)?, Vec::new()),
        None => (
            account.as_ref().map_or(0, |a| a.gid),
            account.as_ref().map(|a| memberships(a.name, group)).unwrap_or_default(),
        ),
    };
    groups.retain(|g| *g != gid);
    groups.insert(0, gid);
    let home = account.as_ref().map_or("/", |a| if a.home.is_empty() { "/" } else { a.home }).to_owned();
    Ok(Identity { uid, gid, groups, home })
}

fn accounts(passwd: &str) -> impl Iterator<Item = Account<'_>> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|n| !n.is_empty())?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        let home = fields.nth(1).unwrap_or("");
        Some(Account { name, uid, gid, home })
    })
}

/// (name, gid, members)
fn groups_of(group: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    group.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|n| !n.is_empty())?;
        let gid = fields.nth(1)?.parse().ok()?;
        Some((name, gid, fields.next().unwrap_or("")))
    })
}

fn group_number(wanted: &str, group: &str) -> Result<u32, CreateError> {
    let named = groups_of(group).find(|(name, ..)| *name == wanted).map(|(_, gid, _)| gid);
    named.or_else(|| wanted.parse().ok()).ok_or_else(|| {
        CreateError::InvalidSpec(format!("unable to find group {wanted}: no matching entries in group file"))
    })
}

fn memberships(user: &str, group: &str) -> Vec<u32> {
    let mut gids = Vec::new();
    for (_, gid, members) in groups_of(group) {
        if members.split(',').any(|m| m.trim() == user) && !gids.contains(&gid) {
            gids.push(gid);
        }
    }
    gids
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\nbroken\n42:x:7:8::/n:\n";
    const GROUP: &str = "root:x:0:root\nwheel:x:10:root,app\nvideo:x:27:app\nappgrp:x:1001:\n";

    #[test]
    fn users_are_looked_up_as_docker_does() {
        let rows: [(&str, u32, u32, &[u32], &str); 10] = [
            ("", 0, 0, &[0, 10], "/root"),
            ("root", 0, 0, &[0, 10], "/root"),
            ("app", 1000, 1001, &[1001, 10, 27], "/home/app"),
            ("1000", 1000, 1001, &[1001, 10, 27], "/home/app"),
            ("2000", 2000, 0, &[0], "/"),
            ("2000:3000", 2000, 3000, &[3000], "/"),
            ("app:wheel", 1000, 10, &[10], "/home/app"),
            ("app:55", 1000, 55, &[55], "/home/app"),
            ("42", 7, 8, &[8], "/n"),
            (":wheel", 0, 10, &[10], "/root"),
        ];
        for (user, uid, gid, groups, home) in rows {
            let want = Identity { uid, gid, groups: groups.to_vec(), home: home.into() };
            assert_eq!(resolve(user, PASSWD, GROUP), Ok(want), "{user:?}");
        }
        assert_eq!(resolve("", "", "").unwrap().groups, [0]);
    }

    #[test]
    fn unknown_names_are_errors() {
        for user in ["nobody", "app:nogroup", "-1"] {
            assert!(matches!(resolve(user, PASSWD, GROUP), Err(CreateError::InvalidSpec(_))), "{user}");
        }
    }
}
