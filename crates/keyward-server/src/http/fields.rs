//! Reading JSON bodies strictly.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

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
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Object(fields))
            }
        }

        deserializer.deserialize_map(Entries)
    }
}
