//! What texts and maps look like that have a grammar, for the description. The grammars themselves
//! are `keyward_core`'s; where a pattern cannot say all of one, it allows more.

use keyward_core::details::{MAX_METADATA_ENTRIES, MAX_METADATA_NAME};
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaType, Type};

/// A scope-token of RFC 6749, section 3.3. Of those that begin with `api_keys:` there are
/// `api_keys:read` and `api_keys:write`.
#[derive(ToSchema)]
#[schema(as = Scope, example = "orders:read", min_length = 1, max_length = 100, pattern = r"^[!#-\[\]-~]+$")]
#[expect(dead_code, reason = "a schema; what is read is a keyward_core::scope::Scope")]
pub struct ScopeText(String);

/// A raw key: the prefix, an underscore, 43 random characters and 6 of checksum.
#[derive(ToSchema)]
#[schema(as = RawKey, pattern = "^[A-Za-z][0-9A-Za-z_]{0,31}_[0-9A-Za-z]{49}$")]
#[expect(dead_code, reason = "a schema; what is written is a keyward_core::secret::PlainKey")]
pub struct RawKeyText(String);

/// The prefix of a key, an underscore, and the first four random characters.
#[derive(ToSchema)]
#[schema(as = KeyPrefix, example = "sk_live_abc1", pattern = "^[A-Za-z][0-9A-Za-z_]{0,31}_[0-9A-Za-z]{4}$")]
#[expect(dead_code, reason = "a schema; what is written is a keyward_core::secret::KeyPrefix")]
pub struct KeyPrefixText(String);

/// Up to 32 texts with names of up to 64 bytes, 4 KiB in all.
pub fn metadata() -> Object {
    entries(Type::Object.into())
}

/// As [`metadata`], or null.
pub fn metadata_or_null() -> Object {
    entries(SchemaType::from_iter([Type::Object, Type::Null]))
}

fn entries(schema_type: SchemaType) -> Object {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    ObjectBuilder::new()
        .schema_type(schema_type)
        .max_properties(Some(MAX_METADATA_ENTRIES))
        .property_names(Some(text().min_length(Some(1)).max_length(Some(MAX_METADATA_NAME))))
        .additional_properties(Some(text()))
        .build()
}
