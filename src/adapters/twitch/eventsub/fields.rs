//! The fields of a JSON object, read one by one: what nobody asks for is never looked at, and cannot fail anything.

use std::borrow::Cow;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Largest number taken: what every JSON reader holds exactly.
const NUMBER_MAX: u64 = 1 << 53;

/// An object's fields in their order. Of a name that comes twice the last counts; null is as good as absent.
#[derive(Debug)]
pub(super) struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Fields<'a> {
    /// Reads a whole JSON text that is an object.
    pub(super) fn read(json: &'a [u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }

    /// The JSON text of a field.
    pub(super) fn json(&self, name: &str) -> Option<&'a str> {
        let (_, raw) = self.0.iter().rev().find(|(known, _)| known == name)?;
        (raw.get() != "null").then(|| raw.get())
    }

    /// A field that is an object.
    pub(super) fn object(&self, name: &str) -> Option<Self> {
        Self::read(self.json(name)?.as_bytes()).ok()
    }

    /// A field that is a list: its objects. Anything else in it is left out.
    pub(super) fn objects(&self, name: &str) -> Vec<Self> {
        self.json(name).map(objects).unwrap_or_default()
    }

    /// A field that is a text, or a number where the platform's own examples hold one.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        text(self.json(name)?)
    }

    /// A field that is a number from 0 to `NUMBER_MAX`, or a text that says one.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        let said = self.text(name)?;
        said.parse().ok().filter(|number| *number <= NUMBER_MAX)
    }

    /// A field that is true or false, or a text that says so.
    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        self.json(name)?.trim_matches('"').parse().ok()
    }

    /// A field that is a time (RFC 3339).
    pub(super) fn time(&self, name: &str) -> Option<DateTime<Utc>> {
        let said = self.text(name)?;
        Some(DateTime::parse_from_rfc3339(&said).ok()?.with_timezone(&Utc))
    }

    /// Every field that is a text or a number, by its name.
    pub(super) fn texts(&self) -> impl Iterator<Item = (String, String)> {
        self.0.iter().filter_map(|(name, raw)| Some((name.to_string(), text(raw.get())?)))
    }

    /// A field without which nothing can be said: its absence is the reason.
    pub(super) fn need<T>(
        &self,
        name: &str,
        read: impl FnOnce(&Self, &str) -> Option<T>,
    ) -> Result<T, String> {
        read(self, name).ok_or_else(|| match self.json(name) {
            None => format!("`{name}` is missing"),
            Some(_) => format!("`{name}` has another form"),
        })
    }
}

/// The objects of a JSON list.
pub(super) fn objects(json: &str) -> Vec<Fields<'_>> {
    let items: Vec<&RawValue> = serde_json::from_str(json).unwrap_or_default();
    items.into_iter().filter_map(|item| Fields::read(item.get().as_bytes()).ok()).collect()
}

fn text(json: &str) -> Option<String> {
    match json.as_bytes().first()? {
        b'"' => {
            let said: Lossy<'_> = serde_json::from_str(json).ok()?;
            // PostgreSQL takes no NUL.
            Some(said.0.replace('\0', "\u{fffd}"))
        }
        b'-' | b'0'..=b'9' => Some(json.to_owned()),
        _ => None,
    }
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut fields = Vec::new();
                while let Some((Lossy(name), raw)) = map.next_entry()? {
                    fields.push((name, raw));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// A JSON text in which half a surrogate pair, which no Rust text can hold, becomes U+FFFD.
struct Lossy<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Lossy<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Lossy<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
                Ok(Lossy(String::from_utf8_lossy(bytes)))
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                Ok(Lossy(String::from_utf8_lossy(bytes).into_owned().into()))
            }
        }
        deserializer.deserialize_bytes(Text)
    }
}
