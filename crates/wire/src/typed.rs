//! From the canonical form to the generated structures and back.
//!
//! Every generated structure is serde's `Serialize` and `Deserialize`, but by way of two small object-safe methods
//! instead of the derive: deriving it for a thousand structures cost 40 s of every check, this costs 4
//! (docs/decisions/0001-codegen.md).

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::error::WireError;
use crate::scalar::{Blob, Timestamp};
use crate::schema::Service;

/// The input type of an operation: what ties a generated structure to its name and its answer.
pub trait Request: Structure + Serialize + DeserializeOwned {
    /// What the operation answers.
    type Response: Structure + Serialize + DeserializeOwned;
    /// The operation's name.
    const OPERATION: &'static str;
    /// The service it belongs to.
    fn service() -> &'static Service;
}

/// The answer of an operation that answers nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NoOutput {}

crate::structure! { NoOutput {} }

/// Reads a generated structure from a canonical value.
///
/// # Errors
/// `SerializationException`, which a value that [`crate::decode`] returned cannot cause for its own operation.
pub fn from_value<T: Structure>(value: Value) -> Result<T, WireError> {
    T::take(value).map_err(WireError::serialization)
}

/// Writes a generated structure as a canonical value.
pub fn to_value<T: Structure>(typed: &T) -> Value {
    typed.put()
}

/// A generated structure, as a set of optional members that go by their names.
pub trait Structure: Default {
    /// Visits every member.
    fn each(&self, visit: &mut dyn FnMut(&'static str, &dyn Slot));
    /// The member of that name.
    fn slot(&mut self, name: &str) -> Option<&mut dyn Slot>;
}

/// Gives a generated structure its members' names, and serde's traits through them.
#[macro_export]
macro_rules! structure {
    ($type:ty { $($field:ident = $name:literal,)* }) => {
        impl $crate::Structure for $type {
            fn each(&self, visit: &mut dyn FnMut(&'static str, &dyn $crate::Slot)) {
                let _ = &visit;
                $(visit($name, &self.$field);)*
            }
            fn slot(&mut self, name: &str) -> Option<&mut dyn $crate::Slot> {
                match name {
                    $($name => Some(&mut self.$field),)*
                    _ => None,
                }
            }
        }
        impl ::serde::Serialize for $type {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $crate::serialize(self, serializer)
            }
        }
        impl<'de> ::serde::Deserialize<'de> for $type {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::deserialize(deserializer)
            }
        }
    };
}

/// An optional member: canonical JSON in, canonical JSON out.
pub trait Slot {
    /// Its value, unless it is unset.
    fn put(&self) -> Option<Value>;
    /// Sets it; null unsets it. The error says what it should have been.
    ///
    /// # Errors
    /// The value is of another kind.
    fn take(&mut self, value: Value) -> Result<(), String>;
}

impl<T: Canonical> Slot for Option<T> {
    fn put(&self) -> Option<Value> {
        self.as_ref().map(Canonical::put)
    }

    fn take(&mut self, value: Value) -> Result<(), String> {
        *self = if value.is_null() { None } else { Some(T::take(value)?) };
        Ok(())
    }
}

/// What a member may hold.
pub trait Canonical: Sized {
    /// As canonical JSON.
    fn put(&self) -> Value;
    /// From canonical JSON.
    ///
    /// # Errors
    /// The value is of another kind; the text says what it should have been.
    fn take(value: Value) -> Result<Self, String>;
}

impl<T: Structure> Canonical for T {
    fn put(&self) -> Value {
        let mut out = Map::new();
        self.each(&mut |name, slot| out.extend(slot.put().map(|value| (name.to_owned(), value))));
        Value::Object(out)
    }

    fn take(value: Value) -> Result<Self, String> {
        let Value::Object(members) = value else { return Err(format!("expected a structure, not {value}")) };
        let mut out = Self::default();
        for (name, value) in members {
            if let Some(slot) = out.slot(&name) {
                slot.take(value).map_err(|error| format!("{name}: {error}"))?;
            }
        }
        Ok(out)
    }
}

impl<T: Canonical> Canonical for Vec<T> {
    fn put(&self) -> Value {
        self.iter().map(Canonical::put).collect()
    }

    fn take(value: Value) -> Result<Self, String> {
        let Value::Array(items) = value else { return Err(format!("expected a list, not {value}")) };
        items.into_iter().map(T::take).collect()
    }
}

impl<T: Canonical> Canonical for BTreeMap<String, T> {
    fn put(&self) -> Value {
        self.iter().map(|(key, value)| (key.clone(), value.put())).collect()
    }

    fn take(value: Value) -> Result<Self, String> {
        let Value::Object(entries) = value else { return Err(format!("expected a map, not {value}")) };
        entries.into_iter().map(|(key, value)| Ok((key, T::take(value)?))).collect()
    }
}

/// A structure that holds itself is boxed.
impl<T: Structure> Structure for Box<T> {
    fn each(&self, visit: &mut dyn FnMut(&'static str, &dyn Slot)) {
        T::each(self, visit);
    }

    fn slot(&mut self, name: &str) -> Option<&mut dyn Slot> {
        T::slot(self, name)
    }
}

impl Canonical for String {
    fn put(&self) -> Value {
        Value::from(self.as_str())
    }

    fn take(value: Value) -> Result<Self, String> {
        let Value::String(text) = value else { return Err(format!("expected a string, not {value}")) };
        Ok(text)
    }
}

impl Canonical for Value {
    fn put(&self) -> Value {
        self.clone()
    }

    fn take(value: Value) -> Result<Self, String> {
        Ok(value)
    }
}

/// Scalars that serde already reads and writes as the canonical form wants them.
macro_rules! by_serde {
    ($($type:ty),*) => {$(
        impl Canonical for $type {
            fn put(&self) -> Value {
                serde_json::to_value(self).unwrap_or(Value::Null)
            }

            fn take(value: Value) -> Result<Self, String> {
                serde_json::from_value(value).map_err(|error| error.to_string())
            }
        }
    )*};
}

by_serde!(i32, i64, f64, bool, Timestamp, Blob);

/// Serializes a generated structure; unset members are left out.
///
/// # Errors
/// The serializer's.
pub fn serialize<T: Structure, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    value.put().serialize(serializer)
}

/// Deserializes a generated structure; unknown members are ignored and null ones unset.
///
/// # Errors
/// The deserializer's, and a member of another kind.
pub fn deserialize<'de, T: Structure, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_map(Members(PhantomData))
}

struct Members<T>(PhantomData<T>);

impl<'de, T: Structure> Visitor<'de> for Members<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a structure")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<T, A::Error> {
        let mut out = T::default();
        while let Some(name) = members.next_key::<String>()? {
            let Some(slot) = out.slot(&name) else {
                members.next_value::<IgnoredAny>()?;
                continue;
            };
            slot.take(members.next_value()?).map_err(|error| A::Error::custom(format!("{name}: {error}")))?;
        }
        Ok(out)
    }
}
