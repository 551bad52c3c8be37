//! Texts with wildcards and variables in them.

use super::Keys;

/// What a resource, an action or a condition's value is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// `?`
    One,
    /// `*`
    Any,
    /// `${name}` or `${name, 'otherwise'}`
    Variable {
        name: String,
        otherwise: Option<String>,
    },
}

/// How a text is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reading {
    /// `*` and `?` stand for others.
    pub(super) wildcards: bool,
    /// `${...}` stands for what is known of the request: only in documents of version 2012-10-17.
    pub(super) variables: bool,
}

/// One place of a pattern whose variables are known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Char(char),
    One,
    Any,
}

impl Pattern {
    /// None if a variable does not end.
    pub(super) fn read(text: &str, how: Reading) -> Option<Self> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if how.variables
                && let Some(inner) = rest.strip_prefix("${")
            {
                let (name, behind) = inner.split_once('}')?;
                match name {
                    // AWS: how to write the characters that mean something.
                    "*" | "?" | "$" => plain.push_str(name),
                    name => {
                        parts.push(Part::Text(std::mem::take(&mut plain)));
                        parts.push(variable(name)?);
                    }
                }
                rest = behind;
                continue;
            }
            match first {
                '*' | '?' if how.wildcards => {
                    parts.push(Part::Text(std::mem::take(&mut plain)));
                    parts.push(if first == '*' { Part::Any } else { Part::One });
                }
                first => plain.push(first),
            }
            rest = &rest[first.len_utf8()..];
        }
        parts.push(Part::Text(plain));
        parts.retain(|part| *part != Part::Text(String::new()));
        Some(Self(parts))
    }

    /// Whether a text is of it. A variable of which nothing is known makes it match nothing.
    pub(super) fn matches(&self, text: &str, keys: &Keys) -> bool {
        let chars: Vec<char> = text.chars().collect();
        self.places(keys, chars.len()).is_some_and(|places| matches(&places, &chars))
    }

    /// The same for texts of several parts between colons, of which the last may hold more colons: each part by itself.
    pub(super) fn matches_arn(&self, text: &str, keys: &Keys) -> bool {
        let chars: Vec<char> = text.chars().collect();
        let Some(places) = self.places(keys, chars.len()) else { return false };
        let (pattern, text) = (parts(&places, &Place::Char(':')), parts(&chars, &':'));
        pattern.len() == text.len() && pattern.iter().zip(&text).all(|(pattern, text)| matches(pattern, text))
    }

    /// Whether an ARN of a service may be of it.
    pub(super) fn may_be_of(&self, service: &str, keys: &Keys) -> bool {
        let Some(places) = self.places(keys, super::MAX_TEXT) else { return false };
        let parts = parts(&places, &Place::Char(':'));
        // A wildcard may stand for more than its part.
        if parts.iter().take(2).any(|part| part.contains(&Place::Any)) {
            return true;
        }
        parts.get(2).is_some_and(|third| matches(third, &service.chars().collect::<Vec<_>>()))
    }

    /// Whether a text is it, without regard to case.
    pub(super) fn equals_ignoring_case(&self, text: &str, keys: &Keys) -> bool {
        let Some(places) = self.places(keys, super::MAX_TEXT) else { return false };
        let own: Option<String> =
            places.iter().map(|place| if let Place::Char(c) = place { Some(*c) } else { None }).collect();
        own.is_some_and(|own| own.to_lowercase() == text.to_lowercase())
    }

    /// None if a variable stands for nothing, and if it is longer than the text it would have to be.
    fn places(&self, keys: &Keys, most: usize) -> Option<Vec<Place>> {
        let (mut places, mut fixed) = (Vec::new(), 0);
        for part in &self.0 {
            // What a variable stands for is text, whatever is in it: nobody names himself `*`.
            let text = match part {
                Part::Text(text) => text.as_str(),
                Part::Variable { name, otherwise } => keys.variable(name).or(otherwise.as_deref())?,
                Part::One => {
                    places.push(Place::One);
                    fixed += 1;
                    continue;
                }
                // A second one in a row says nothing more.
                Part::Any if places.last() == Some(&Place::Any) => continue,
                Part::Any => {
                    places.push(Place::Any);
                    continue;
                }
            };
            let before = places.len();
            places.extend(text.chars().take(most.saturating_sub(fixed) + 1).map(Place::Char));
            fixed += places.len() - before;
            if fixed > most {
                return None;
            }
        }
        (fixed <= most).then_some(places)
    }
}

fn variable(text: &str) -> Option<Part> {
    let (name, otherwise) = match text.split_once(',') {
        None => (text, None),
        Some((name, otherwise)) => {
            let otherwise = otherwise.trim().strip_prefix('\'')?.strip_suffix('\'')?;
            (name.trim(), Some(otherwise.to_owned()))
        }
    };
    (!name.is_empty()).then(|| Part::Variable { name: name.to_owned(), otherwise })
}

fn parts<'a, T: PartialEq>(items: &'a [T], colon: &T) -> Vec<&'a [T]> {
    items.splitn(6, |item| item == colon).collect()
}

/// The usual walk: where it fails, the last `*` takes one more. At most as many steps as both lengths multiplied. The text has
/// at most [`super::MAX_TEXT`] bytes, and no pattern has more than twice as many places as its text has characters.
fn matches(pattern: &[Place], text: &[char]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut last: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(Place::Any) => {
                last = Some((p + 1, t));
                p += 1;
                continue;
            }
            Some(Place::One) => {
                (p, t) = (p + 1, t + 1);
                continue;
            }
            Some(Place::Char(c)) if *c == text[t] => {
                (p, t) = (p + 1, t + 1);
                continue;
            }
            Some(Place::Char(_)) | None => {}
        }
        let Some((after, taken)) = last else { return false };
        last = Some((after, taken + 1));
        (p, t) = (after, taken + 1);
    }
    pattern[p..].iter().all(|place| *place == Place::Any)
}
