//! Cloud Map's ids: a prefix that says what it is, and small letters and digits. What is misspelt is to a client the same as
//! what is not there, so that parsing refuses without a code of its own.

use crate::names::{InvalidName, name};
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

const RULE: &str = "it must be a prefix and small letters and digits";

fn is_small(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

fn is_id(text: &str, prefix: &str) -> bool {
    text.len() <= 64 && text.strip_prefix(prefix).is_some_and(is_small)
}

/// The lowest digits of a number, written with 36 of them.
fn digits(mut number: u128, count: usize) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let digit = |_| {
        let digit = DIGITS[usize::try_from(number % 36).expect("less than 36")];
        number /= 36;
        char::from(digit)
    };
    (0..count).map(digit).collect()
}

name!(
    /// A namespace's: `ns-` and 16 letters and digits.
    NamespaceId, "namespace id", RULE, |text| is_id(text, "ns-")
);
name!(
    /// A service's: `srv-` and 16 letters and digits.
    ServiceId, "service id", RULE, |text| is_id(text, "srv-")
);
name!(
    /// An operation's: 24 letters and digits, and 8 more.
    OperationId, "operation id", RULE,
    |text| text.len() <= 64 && text.split_once('-').is_some_and(|(one, two)| is_small(one) && is_small(two))
);
name!(
    /// An instance's, which whoever registers it chooses. Source: the service model, `InstanceId`.
    InstanceId, "instance id", "1 to 64 letters, digits and any of _/:.@-",
    |text| (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_/:.@-".contains(&b))
);

impl NamespaceId {
    /// The id of that number.
    pub fn of(number: u128) -> Self {
        Self(format!("ns-{}", digits(number, 16)).into())
    }

    /// That of its hosted zone, which nothing else has: there is one for each namespace that DNS answers.
    pub fn hosted_zone(&self) -> String {
        format!("Z{}", self.0.trim_start_matches("ns-").to_ascii_uppercase())
    }
}

impl ServiceId {
    /// The id of that number.
    pub fn of(number: u128) -> Self {
        Self(format!("srv-{}", digits(number, 16)).into())
    }
}

impl OperationId {
    /// The id of that number.
    pub fn of(number: u128) -> Self {
        let all = digits(number, 24);
        Self(format!("{all}-{}", &all[..8]).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_a_prefix_and_small_letters_and_digits() {
        for (text, good) in [
            ("ns-e4anhexbxmbaxy5w", true),
            ("ns-e4anhexbxmbaxy5W", false),
            ("ns-", false),
            ("srv-e4anhexbxmbaxy5w", false),
            ("", false),
        ] {
            assert_eq!(NamespaceId::parse(text).is_ok(), good, "{text}");
        }
        for (text, good) in
            [("a", true), ("i-1/2:3.4@5_6", true), ("a b", false), ("", false), (&"a".repeat(65), false)]
        {
            assert_eq!(InstanceId::parse(text).is_ok(), good, "{text}");
        }
        for number in [0, 35, 36, u128::MAX] {
            let (namespace, service, operation) =
                (NamespaceId::of(number), ServiceId::of(number), OperationId::of(number));
            assert_eq!(NamespaceId::parse(namespace.as_str()), Ok(namespace.clone()));
            assert_eq!(ServiceId::parse(service.as_str()), Ok(service));
            assert_eq!(OperationId::parse(operation.as_str()), Ok(operation));
            assert_eq!(namespace.hosted_zone().len(), 17);
        }
        assert_ne!(NamespaceId::of(1), NamespaceId::of(36));
    }
}
