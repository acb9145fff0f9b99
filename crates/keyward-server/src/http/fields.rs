//! Reading JSON bodies strictly.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use keyward_core::clock::Timestamp;
use keyward_core::details::{Description, Metadata};
use keyward_core::key::KeyName;
use keyward_core::scope::{Scope, Scopes};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use zeroize::Zeroizing;

use super::problem::{FieldError, Kind, Problem};

/// A value that cannot stand where it stands.
pub struct Invalid {
    /// Pointer to the fault below the field, empty for the field itself.
    pub below: String,
    /// What is wrong there.
    pub detail: Cow<'static, str>,
}

impl Invalid {
    /// The field itself is wrong.
    pub fn here(detail: impl Into<Cow<'static, str>>) -> Self {
        Self { below: String::new(), detail: detail.into() }
    }
}

/// The text of a value that must be a string.
pub fn string(value: &Value) -> Result<&str, Invalid> {
    value.as_str().ok_or_else(|| Invalid::here("must be a string"))
}

/// A display name.
pub fn name(value: &Value) -> Result<KeyName, Invalid> {
    KeyName::new(string(value)?).map_err(|invalid| Invalid::here(invalid.to_string()))
}

/// A description.
pub fn description(value: &Value) -> Result<Description, Invalid> {
    Description::new(string(value)?).map_err(|invalid| Invalid::here(invalid.to_string()))
}

/// A flat object of texts.
pub fn metadata(value: &Value) -> Result<Metadata, Invalid> {
    let object = value
        .as_object()
        .ok_or_else(|| Invalid::here("must be an object of strings, each name once"))?;
    let entry = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
    let entries: Option<BTreeMap<String, String>> = object.iter().map(entry).collect();
    let entries = entries.ok_or_else(|| Invalid::here("must be an object of strings"))?;
    Metadata::new(entries).map_err(|invalid| Invalid::here(invalid.to_string()))
}

/// A time as RFC 3339 writes it.
pub fn time(value: &Value) -> Result<Timestamp, Invalid> {
    Timestamp::parse(string(value)?)
        .ok_or_else(|| Invalid::here("is not a time as RFC 3339 writes it: 2030-01-15T09:30:00Z"))
}

/// A truth value.
pub fn boolean(value: &Value) -> Result<bool, Invalid> {
    value.as_bool().ok_or_else(|| Invalid::here("must be true or false"))
}

/// A UUID of any kind.
pub fn id<T: FromStr>(value: &Value) -> Result<T, Invalid> {
    string(value)?.parse().map_err(|_| Invalid::here("is not a UUID"))
}

/// Presented keys, at most so many.
pub fn keys(value: &Value, most: usize) -> Result<Vec<Zeroizing<String>>, Invalid> {
    let list = value.as_array().ok_or_else(|| Invalid::here("must be an array of strings"))?;
    if list.len() > most {
        return Err(Invalid::here(format!("has more than {most} keys")));
    }
    let key = |(at, value): (usize, &Value)| match string(value) {
        Ok(key) => Ok(Zeroizing::new(key.to_owned())),
        Err(invalid) => Err(Invalid { below: format!("/{at}"), ..invalid }),
    };
    list.iter().enumerate().map(key).collect()
}

/// What `read` reads, or nothing where it is null.
pub fn or_null<T>(
    value: &Value,
    read: impl FnOnce(&Value) -> Result<T, Invalid>,
) -> Result<Option<T>, Invalid> {
    if value.is_null() { Ok(None) } else { read(value).map(Some) }
}

/// A list of scopes.
pub fn scopes(value: &Value) -> Result<Scopes, Invalid> {
    let list = value.as_array().ok_or_else(|| Invalid::here("must be an array of strings"))?;
    let scope = |(at, value): (usize, &Value)| {
        string(value)
            .and_then(|text| text.parse::<Scope>().map_err(|e| Invalid::here(e.to_string())))
            .map_err(|invalid| Invalid { below: format!("/{at}"), ..invalid })
    };
    let scopes: Scopes = list.iter().enumerate().map(scope).collect::<Result<_, _>>()?;
    scopes.within_limit().map_err(|error| Invalid::here(error.to_string()))
}

/// The fields of a JSON object, taken one by one. What is wrong is gathered, so that a client learns
/// everything at once; what is left over is refused, because a misspelt field must not silently
/// mean nothing. No message repeats a value: it might be a secret.
pub struct Fields {
    fields: Vec<(String, Value)>,
    errors: Vec<FieldError>,
}

impl Fields {
    /// Reads the object that a body must be.
    pub fn parse(body: &[u8]) -> Result<Self, Problem> {
        let fields = serde_json::from_slice(body).map_err(|error| {
            let detail = match error.classify() {
                serde_json::error::Category::Data => "the body is not a JSON object".into(),
                _ => format!(
                    "the body is not JSON that can be read: line {}, column {}",
                    error.line(),
                    error.column()
                ),
            };
            Problem::new(Kind::InvalidBody, detail)
        })?;
        let Object(fields) = fields;
        Ok(Self { fields, errors: Vec::new() })
    }

    /// Takes a field that may be left out.
    pub fn optional<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&Value) -> Result<T, Invalid>,
    ) -> Option<T> {
        let at = self.fields.iter().position(|(field, _)| field == name)?;
        let (_, value) = self.fields.remove(at);
        match read(&value) {
            Ok(value) => Some(value),
            Err(invalid) => {
                self.error(&format!("{name}{}", invalid.below), invalid.detail);
                None
            }
        }
    }

    /// Takes a field that must be there.
    pub fn required<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&Value) -> Result<T, Invalid>,
    ) -> Option<T> {
        if !self.fields.iter().any(|(field, _)| field == name) {
            self.error(name, "is required".into());
            return None;
        }
        self.optional(name, read)
    }

    /// Refuses what is wrong, and what was not taken.
    pub fn finish(mut self) -> Result<(), Problem> {
        let taken = std::mem::take(&mut self.fields);
        for (field, _) in taken.into_iter().take(MAX_UNKNOWN) {
            self.error(
                &pointer_token(&field),
                "is not a field of this request, or is there twice".into(),
            );
        }
        if self.errors.is_empty() { Ok(()) } else { Err(Problem::invalid_fields(self.errors)) }
    }

    fn error(&mut self, path: &str, detail: Cow<'static, str>) {
        self.errors.push(FieldError { pointer: format!("/{path}"), detail });
    }
}

/// Unknown fields that are named in an answer, which must not be many times the request.
const MAX_UNKNOWN: usize = 16;

/// A field's name as a reference token (RFC 6901, section 3). A long one is cut: this is somebody
/// else's text, and at 49 characters it might be a key.
fn pointer_token(field: &str) -> String {
    const SHOWN: usize = 32;
    let shown: String = field.chars().filter(|c| !c.is_control()).take(SHOWN).collect();
    let more = if field.chars().count() > SHOWN { "…" } else { "" };
    format!("{}{more}", shown.replace('~', "~0").replace('/', "~1"))
}

/// The fields of a JSON object as they come, repeats included: a map would keep the last alone, and
/// two readers of one body could then disagree about what it says.
struct Object(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut fields = Vec::new();
                while let Some((name, Strict(value))) = map.next_entry()? {
                    fields.push((name, value));
                }
                Ok(Object(fields))
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

/// A value in which an object that has a member twice is something that no field can be: for the
/// same reason as [`Object`].
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Values;

        impl<'de> Visitor<'de> for Values {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                Ok(value.into())
            }

            fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
                Ok(value.into())
            }

            fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
                Ok(value.into())
            }

            fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
                Ok(value.into())
            }

            fn visit_str<E>(self, value: &str) -> Result<Value, E> {
                Ok(value.into())
            }

            fn visit_string<E>(self, value: String) -> Result<Value, E> {
                Ok(value.into())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
                let mut values = Vec::new();
                while let Some(Strict(value)) = list.next_element()? {
                    values.push(value);
                }
                Ok(values.into())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
                let mut members = serde_json::Map::new();
                let mut twice = false;
                while let Some((name, Strict(value))) = map.next_entry()? {
                    twice |= members.insert(name, value).is_some();
                }
                Ok(if twice { vec![Value::Null].into() } else { members.into() })
            }
        }

        deserializer.deserialize_any(Values).map(Strict)
    }
}
