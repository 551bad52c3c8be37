//! Names and hardware addresses that are safe to hand to the kernel and to render into nftables text.

use crate::{Error, Result};
use std::fmt;
use std::net::Ipv4Addr;

/// An interface name: 1 to 15 characters (IFNAMSIZ without its NUL) of `A-Z a-z 0-9 . _ -`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IfName(String);

impl IfName {
    /// Checks and wraps a name. Errors with [`Error::Name`].
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        check("interface", &name, 15)?;
        Ok(Self(name))
    }

    /// A stable name for something whose own name is too long: up to 4 characters of `prefix`, then 11 of a hash of `key`.
    /// Same key, same name, so a restarted process finds what it made; 55 bits make a clash on one machine negligible.
    pub fn derive(prefix: &str, key: &str) -> Self {
        const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
        let mut hash = fnv1a(key.as_bytes());
        let mut name: String = prefix.chars().filter(char::is_ascii_alphanumeric).take(4).collect();
        for _ in 0..11 {
            name.push(char::from(ALPHABET[(hash & 31) as usize]));
            hash >>= 5;
        }
        Self(name)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// FNV-1a with a final avalanche: names must stay the same across builds, which the standard hasher does not promise.
fn fnv1a(bytes: &[u8]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash ^= hash >> 32;
    hash = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^ (hash >> 29)
}

/// The name of an nftables table: at most 31 characters of `A-Z a-z 0-9 _`, starting with a letter.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableName(String);

impl TableName {
    /// Checks and wraps a name. Errors with [`Error::Name`].
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        check("table", &name, 31)?;
        let why = if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            "it must start with a letter"
        } else if name.contains(['.', '-']) {
            "only letters, digits and _ are allowed"
        } else {
            return Ok(Self(name));
        };
        Err(Error::Name { what: "table", name, why })
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The rules all our names share; `max` in bytes.
pub(crate) fn check(what: &'static str, name: &str, max: usize) -> Result<()> {
    let why = if name.is_empty() {
        "it is empty"
    } else if name.len() > max {
        "it is too long"
    } else if name == "." || name == ".." {
        "it means a folder"
    } else if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) {
        "only letters, digits, dot, _ and - are allowed"
    } else {
        return Ok(());
    };
    Err(Error::Name { what, name: name.to_owned(), why })
}

/// A hardware address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The address an interface with this IPv4 address gets: locally administered, unique wherever the IPv4 address is,
    /// and the same after a restart, so neighbours' caches stay right.
    pub fn for_ipv4(address: Ipv4Addr) -> Self {
        let [a, b, c, d] = address.octets();
        Self([0x02, 0x4c, a, b, c, d])
    }
}

macro_rules! text {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}
text!(IfName, TableName);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_break_out_are_refused() {
        for bad in ["", "sixteen-letters-", "a b", "a/b", "a\"b", "..", "ä", "a;b", "a\n"] {
            assert!(IfName::new(bad).is_err(), "{bad:?}");
            assert!(TableName::new(bad).is_err() || bad == "sixteen-letters-", "{bad:?}");
        }
        for good in ["longshore0", "ecs-br0", "fifteen-letters", "a.b"] {
            assert_eq!(IfName::new(good).expect("valid").as_str(), good);
        }
        for bad in ["9a", "a-b", "a.b"] {
            assert!(TableName::new(bad).is_err(), "{bad:?}");
        }
        assert!(TableName::new("longshore_ports").is_ok());
    }

    #[test]
    fn derived_names_are_stable_distinct_and_fit() {
        let mut seen = std::collections::HashSet::new();
        for n in 0..10_000 {
            let name = IfName::derive("lsve", &format!("task/{n}"));
            assert!(IfName::new(name.as_str()).is_ok(), "{name}");
            assert!(seen.insert(name));
        }
        // A golden value: a new build must find the interfaces of the old one.
        assert_eq!(IfName::derive("v", "0123456789abcdef").as_str(), "vevbzpbvgqpo");
        assert_eq!(Mac::for_ipv4(Ipv4Addr::new(172, 31, 0, 9)).to_string(), "02:4c:ac:1f:00:09");
    }
}
