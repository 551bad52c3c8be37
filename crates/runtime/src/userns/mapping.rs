//! Which numbers of the machine the users and groups of a user namespace have: one range for each, from what an operator wrote.

use std::fmt;
use std::fs;
use std::str::FromStr;

/// The account whose ranges dockerd takes for `default`.
const DEFAULT_USER: &str = "dockremap";
const USERS: &str = "/etc/subuid";
const GROUPS: &str = "/etc/subgid";
/// Images know users up to `nobody`, 65534.
const FEWEST: u32 = 65_536;
/// Below are the machine's own accounts.
const LOWEST: u32 = 65_536;

/// A range of the machine's numbers for users and one for groups: the namespace's 0 is the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IdMapping {
    /// Root's number on the machine.
    pub first_user: u32,
    /// The number of root's group on the machine.
    pub first_group: u32,
    /// How many numbers there are, of users as of groups.
    pub count: u32,
}

/// Why there is no such range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// dockerd would take it, but not we.
    #[error(
        "{0:?} is neither default, USER[:GROUP] with names that /etc/subuid and /etc/subgid list, nor a range FIRST-LAST"
    )]
    Unreadable(String),
    /// The account has no range.
    #[error("{file} has no line for {name}; add one, such as {name}:100000:65536")]
    Absent {
        /// Which file.
        file: &'static str,
        /// Of whom.
        name: String,
    },
    /// The file cannot be read.
    #[error("{file} cannot be read: {why}")]
    File {
        /// Which file.
        file: &'static str,
        /// The system's words.
        why: String,
    },
    /// Images have more users than that.
    #[error("a range of {0} numbers is too small: images have users up to 65534, so it has to have 65536 at least")]
    Small(u64),
    /// Somebody else of the machine may have these.
    #[error("a range that begins with {0} has numbers of the machine's own users: it has to begin with 65536 or later")]
    Low(u32),
    /// There are no such numbers.
    #[error("a range of {1} numbers from {0} on goes beyond the largest there is, 4294967294")]
    High(u32, u64),
}

impl IdMapping {
    /// What users are who, as the kernel reads it.
    pub(super) fn of_users(&self) -> String {
        format!("0 {} {}\n", self.first_user, self.count)
    }

    /// What groups are which, as the kernel reads it.
    pub(super) fn of_groups(&self) -> String {
        format!("0 {} {}\n", self.first_group, self.count)
    }

    /// The mapping that a text says, as dockerd's `userns-remap` does, or a range itself.
    fn read(text: &str, file: impl Fn(&'static str) -> Result<String, MappingError>) -> Result<Self, MappingError> {
        let unreadable = || MappingError::Unreadable(text.to_owned());
        if let Some((first, last)) = numbers(text) {
            let count = (u64::from(last) + 1).checked_sub(first.into()).ok_or_else(unreadable)?;
            let count = checked(first, count)?;
            return Ok(Self { first_user: first, first_group: first, count });
        }
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, group),
            None if text == "default" => (DEFAULT_USER, DEFAULT_USER),
            None => (text, text),
        };
        let is_name = |name: &str| {
            let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
            name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(known)
        };
        if !is_name(user) || !is_name(group) {
            return Err(unreadable());
        }
        let (first_user, users) = range(USERS, &file(USERS)?, user)?;
        let (first_group, groups) = range(GROUPS, &file(GROUPS)?, group)?;
        Ok(Self { first_user, first_group, count: users.min(groups) })
    }
}

/// `FIRST-LAST`.
fn numbers(text: &str) -> Option<(u32, u32)> {
    let (first, last) = text.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?))
}

/// The first range of an account. Source: subuid(5).
fn range(file: &'static str, text: &str, name: &str) -> Result<(u32, u32), MappingError> {
    let of_name = |line: &str| {
        let mut parts = line.trim().split(':');
        let (owner, first, count) = (parts.next()?, parts.next()?, parts.next()?);
        (owner == name).then(|| Some((first.parse().ok()?, count.parse().ok()?)))?
    };
    let found = text.lines().find_map(of_name);
    let (first, count) = found.ok_or_else(|| MappingError::Absent { file, name: name.to_owned() })?;
    Ok((first, checked(first, count)?))
}

fn checked(first: u32, count: u64) -> Result<u32, MappingError> {
    if first < LOWEST {
        return Err(MappingError::Low(first));
    }
    if u64::from(first) + count > u64::from(u32::MAX) {
        return Err(MappingError::High(first, count));
    }
    u32::try_from(count).ok().filter(|count| *count >= FEWEST).ok_or(MappingError::Small(count))
}

impl FromStr for IdMapping {
    type Err = MappingError;

    fn from_str(text: &str) -> Result<Self, MappingError> {
        let file = |file| fs::read_to_string(file).map_err(|e| MappingError::File { file, why: e.to_string() });
        Self::read(text, file)
    }
}

impl fmt::Display for IdMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = |first: u32| u64::from(first) + u64::from(self.count) - 1;
        write!(f, "users {}-{}", self.first_user, last(self.first_user))?;
        write!(f, ", groups {}-{}", self.first_group, last(self.first_group))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_dockerd_reads_them_or_as_they_stand() {
        let file = |file: &'static str| {
            let users = "# ranges\nroot:1:65536\nsmall:100000:1000\nhigh:4294901760:65536\ndockremap:200000:65536\n\
                         web:300000:70000\nodd:x:y\n";
            let groups = "dockremap:210000:65536\nweb:310000:65536\ncrew:500000:65536\n";
            Ok(if file == USERS { users } else { groups }.to_owned())
        };
        let mapping = |first_user, first_group, count| Ok(IdMapping { first_user, first_group, count });
        let absent = |file, name: &str| Err(MappingError::Absent { file, name: name.into() });
        let unreadable = |text: &str| Err(MappingError::Unreadable(text.into()));
        let rows = [
            ("default", mapping(200_000, 210_000, 65_536)),
            ("dockremap", mapping(200_000, 210_000, 65_536)),
            ("web", mapping(300_000, 310_000, 65_536)),
            ("web:crew", mapping(300_000, 500_000, 65_536)),
            ("100000-165535", mapping(100_000, 100_000, 65_536)),
            ("nobody", absent(USERS, "nobody")),
            ("odd", absent(USERS, "odd")),
            ("web:nobody", absent(GROUPS, "nobody")),
            ("root", Err(MappingError::Low(1))),
            ("0-65535", Err(MappingError::Low(0))),
            ("small", Err(MappingError::Small(1000))),
            ("100000-165534", Err(MappingError::Small(65_535))),
            ("high", Err(MappingError::High(4_294_901_760, 65_536))),
            ("165535-100000", unreadable("165535-100000")),
            ("1000:1000", unreadable("1000:1000")),
            ("", unreadable("")),
            ("host", absent(USERS, "host")),
        ];
        for (text, want) in rows {
            assert_eq!(IdMapping::read(text, file), want, "{text}");
        }
        let told = IdMapping::read("100000-165535", file).unwrap();
        assert_eq!(told.to_string(), "users 100000-165535, groups 100000-165535");
        assert_eq!(told.of_users(), "0 100000 65536\n");
    }
}
