//! `--tags key=value,key2=value2`.

use shapes::{ec2, ecs};

/// Tags, in the order in which they were given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tags(Vec<(String, String)>);

/// Reads the flag. What a key or a value may be is for the server to say.
pub(crate) fn parse(text: &str) -> Result<Tags, String> {
    let pair = |pair: &str| match pair.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("'{pair}' is not a tag; write key=value,key2=value2")),
    };
    text.split(',').map(pair).collect::<Result<_, _>>().map(Tags)
}

impl Tags {
    /// As ECS writes them.
    pub(crate) fn ecs(&self) -> Vec<ecs::Tag> {
        self.0.iter().map(|(k, v)| ecs::Tag { key: Some(k.clone()), value: Some(v.clone()) }).collect()
    }

    /// As EC2 writes them.
    pub(crate) fn ec2(&self) -> Vec<ec2::Tag> {
        self.0.iter().map(|(k, v)| ec2::Tag { key: Some(k.clone()), value: Some(v.clone()) }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_pairs() {
        for (given, wanted) in [
            ("a=b", Some(vec![("a", "b")])),
            ("a=b,c=d=e", Some(vec![("a", "b"), ("c", "d=e")])),
            ("a=", Some(vec![("a", "")])),
            ("a", None),
            ("=b", None),
            ("a=b,", None),
        ] {
            let wanted = wanted.map(|all| all.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect());
            assert_eq!(parse(given).ok(), wanted.map(Tags), "{given}");
        }
    }
}
