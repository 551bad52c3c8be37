//! What a file's YAML says, laid into types.
//!
//! Other than a general reader this one says where in the file something is wrong, by the keys above it, and tells of keys that nothing
//! reads. A mapping is read by its keys only, and a number or a truth value is as good as a text where a text is wanted.

use super::{
    number::{Number, number},
    value::{boolean, text},
};
use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::{cell::RefCell, fmt};

/// Why a file does not say what it should.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Wrong(String);

impl de::Error for Wrong {
    fn custom<T: fmt::Display>(words: T) -> Self {
        Self(words.to_string())
    }
}

/// Lays a file's value into a type; answers with the keys that the type does not have.
pub(super) fn read<T: DeserializeOwned>(value: Value) -> Result<(T, Vec<String>), Wrong> {
    let unknown = RefCell::new(Vec::new());
    let read = T::deserialize(At { value, place: String::new(), unknown: &unknown })?;
    Ok((read, unknown.into_inner()))
}

/// A value and where it stands.
struct At<'a> {
    value: Value,
    place: String,
    unknown: &'a RefCell<Vec<String>>,
}

impl<'a> At<'a> {
    fn below(&self, step: &str, value: Value) -> At<'a> {
        let place = if self.place.is_empty() { step.to_owned() } else { format!("{}.{step}", self.place) };
        At { value, place, unknown: self.unknown }
    }

    fn wrong(&self, words: &str) -> Wrong {
        let place = if self.place.is_empty() { "the file" } else { &self.place };
        Wrong(format!("{place} must be {words}"))
    }

    /// The members that the wanted type has; all of them if any will do.
    fn members(mut self, wanted: Option<&[&str]>) -> Result<Members<'a>, Wrong> {
        let Value::Object(members) = self.value.take() else { return Err(self.wrong("a mapping")) };
        let mut left = Vec::new();
        for (key, value) in members {
            let at = self.below(&key, value);
            if wanted.is_none_or(|wanted| wanted.contains(&&*key)) {
                left.push((key, at));
            } else if !key.starts_with("x-") {
                self.unknown.borrow_mut().push(at.place);
            }
        }
        Ok(Members { left: left.into_iter(), value: None })
    }
}

impl<'de> de::Deserializer<'de> for At<'_> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let place = self.place;
        self.value.deserialize_any(visitor).map_err(|error| Wrong(format!("{place}: {error}")))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        if self.value.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_map(self.members(Some(fields))?)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_map(self.members(None)?)
    }

    fn deserialize_seq<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Wrong> {
        let Value::Array(items) = self.value.take() else { return Err(self.wrong("a list")) };
        let items: Vec<_> = items.into_iter().enumerate().map(|(at, item)| self.below(&at.to_string(), item)).collect();
        visitor.visit_seq(Items(items.into_iter()))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_string(text(&self.value).ok_or_else(|| self.wrong("a text"))?)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_bool(boolean("", &self.value).map_err(|_| self.wrong("true or false"))?)
    }

    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let whole = match text(&self.value).map(|text| number(&text)) {
            Some(Number::Whole(whole)) => i64::try_from(whole).ok(),
            _ => None,
        };
        let place = self.place.clone();
        let whole = whole.ok_or_else(|| self.wrong("a whole number"))?;
        visitor.visit_i64(whole).map_err(|error: Wrong| Wrong(format!("{place}: {error}")))
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i128 u8 u16 u32 u64 u128 f32 f64 char str bytes byte_buf unit unit_struct tuple tuple_struct enum identifier
        ignored_any
    }
}

struct Members<'a> {
    left: std::vec::IntoIter<(String, At<'a>)>,
    value: Option<At<'a>>,
}

impl<'de> MapAccess<'de> for Members<'_> {
    type Error = Wrong;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Wrong> {
        let Some((key, value)) = self.left.next() else { return Ok(None) };
        self.value = Some(value);
        seed.deserialize(key.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Wrong> {
        let value = self.value.take().ok_or_else(|| de::Error::custom("a value before its key"))?;
        seed.deserialize(value)
    }
}

struct Items<'a>(std::vec::IntoIter<At<'a>>);

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Wrong;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Wrong> {
        self.0.next().map(|item| seed.deserialize(item)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::json;
    use std::collections::BTreeMap;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Outer {
        inner: BTreeMap<String, Inner>,
        list: Vec<Inner>,
        free: Option<Value>,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Inner {
        name: Option<String>,
        size: Option<i32>,
        on: Option<bool>,
    }

    #[test]
    fn values_are_laid_into_types_and_what_is_not_read_is_told() {
        let (read, unknown) = read::<Outer>(json!({
            "inner": {"a": {"name": 5, "size": "010", "on": "yes", "other": {"x": 1}, "x-note": 1}},
            "list": [{}, {"nmae": "a"}], "free": {"any": [1]}, "more": null,
        }))
        .unwrap();
        let wanted = Inner { name: Some("5".to_owned()), size: Some(8), on: Some(true) };
        assert_eq!((&read.inner["a"], read.list.len(), read.free), (&wanted, 2, Some(json!({"any": [1]}))));
        assert_eq!(unknown, ["more", "inner.a.other", "list.1.nmae"]);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (given, words) in [
            (json!(["x"]), "the file must be a mapping"),
            (json!({"inner": ["x"]}), "inner must be a mapping"),
            (json!({"inner": {"a": ["x"]}}), "inner.a must be a mapping"),
            (json!({"list": {"name": "x"}}), "list must be a list"),
            (json!({"list": [{"name": ["x"]}]}), "list.0.name must be a text"),
            (json!({"list": [{"on": "perhaps"}]}), "list.0.on must be true or false"),
            (json!({"list": [{"size": "1.5"}]}), "list.0.size must be a whole number"),
            (json!({"list": [{"size": 9_999_999_999_u64}]}), "list.0.size: invalid value"),
        ] {
            let error = read::<Outer>(given).unwrap_err().to_string();
            assert!(error.starts_with(words), "{error}");
        }
    }
}
