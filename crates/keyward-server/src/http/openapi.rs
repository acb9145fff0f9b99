//! The description of the interface, OpenAPI 3.1, generated from the handlers' own types.

use std::collections::BTreeMap;

use bytes::Bytes;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, ParameterStyle};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, Ref, RefOr, Required, Response, ResponseBuilder};
use utoipa::{IntoParams, IntoResponses, Modify, OpenApi};

use super::problem::{Kind, PROBLEM_JSON, ProblemDetails};
use super::verify::FORWARD_AUTH;
use super::{audit, bulk, keys, list, ops, verify};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Keyward",
        description = "Workspace API keys: issued, listed, revoked, and above all verified.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        list::list, keys::create, keys::get, keys::edit, keys::rotate, keys::revoke, keys::revoke_own,
        bulk::revoke_doomed, bulk::revoke_presented, audit::list,
        verify::verify_key, bulk::verify_keys, verify::authenticate,
        ops::health, ops::ready, ops::metrics, openapi,
    ),
    components(schemas(ProblemDetails)),
    modifiers(&Security, &EveryMethod),
)]
struct Document;

/// The document as JSON, or why it could not be written.
pub fn document() -> Result<Bytes, String> {
    serde_json::to_vec(&Document::openapi()).map(Bytes::from).map_err(|error| error.to_string())
}

/// This document
#[utoipa::path(
    get, path = "/openapi.json", operation_id = "openapi", tag = "Operations",
    responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value), AnyProblems),
)]
#[expect(dead_code, reason = "the route is a constant in ops; this describes it")]
fn openapi() {}

/// The ways to say who one is.
struct Security;

impl Modify for Security {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer =
            |text: &str| HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(text));
        let token = bearer("A token of your identity provider, or one made by `keyward token`.");
        let key = bearer("An API key of the workspace.");
        let header = ApiKey::Header(ApiKeyValue::new("X-API-Key"));
        let components = document.components.get_or_insert_default();
        components
            .add_security_scheme("token", SecurityScheme::Http(token.bearer_format("JWT").build()));
        components.add_security_scheme("api_key", SecurityScheme::Http(key.build()));
        components.add_security_scheme("api_key_header", SecurityScheme::ApiKey(header));
    }
}

/// The forward-auth endpoint answers on any method, and below its path too.
struct EveryMethod;

impl Modify for EveryMethod {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let Some(item) = document.paths.paths.get_mut(FORWARD_AUTH) else { return };
        let Some(get) = item.get.clone() else { return };
        item.put = Some(variant(&get, "Put"));
        item.post = Some(variant(&get, "Post"));
        item.delete = Some(variant(&get, "Delete"));
        item.options = Some(variant(&get, "Options"));
        item.head = Some(variant(&get, "Head"));
        item.patch = Some(variant(&get, "Patch"));
        item.trace = Some(variant(&get, "Trace"));
        let mut below = item.clone();
        let every = [
            &mut below.get,
            &mut below.put,
            &mut below.post,
            &mut below.delete,
            &mut below.options,
            &mut below.head,
            &mut below.patch,
            &mut below.trace,
        ];
        for operation in every.into_iter().flatten() {
            *operation = variant(operation, "Below");
            let parameters = operation.parameters.get_or_insert_default();
            parameters.retain(|parameter| !is_query(parameter));
            let path = ParameterBuilder::new()
                .name("path")
                .parameter_in(ParameterIn::Path)
                .required(Required::True)
                .description(Some("Whatever the gateway appends"))
                .schema(Some(ObjectBuilder::new().schema_type(Type::String)));
            parameters.insert(0, RefOr::T(path.build()));
        }
        document.paths.paths.insert(format!("{FORWARD_AUTH}/{{path}}"), below);
    }
}

fn is_query(parameter: &RefOr<Parameter>) -> bool {
    matches!(parameter, RefOr::T(parameter) if parameter.parameter_in == ParameterIn::Query)
}

fn variant(operation: &Operation, suffix: &str) -> Operation {
    let mut variant = operation.clone();
    variant.operation_id = variant.operation_id.map(|id| format!("{id}{suffix}"));
    variant
}

/// The header that may repeat the workspace of the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "a description of what handlers read from the headers themselves")]
pub struct WorkspaceHeader {
    /// When it is there, the workspace ID of the path.
    #[param(rename = "X-Workspace-ID", required = false, nullable = false)]
    workspace: Option<uuid::Uuid>,
}

/// What a list may be asked for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "a description of what the handler reads from the query itself")]
pub struct ListParameters {
    /// Keys on a page. Left out: all of them.
    #[param(required = false, nullable = false, minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// Where the page begins: from the link of the page before.
    #[param(required = false, nullable = false, pattern = "^[0-9a-f]{48}$")]
    cursor: Option<String>,
    /// Only keys with this status.
    #[param(required = false, nullable = false, value_type = Option<super::wire::StatusWord>)]
    status: Option<String>,
    /// Only keys that this account created.
    #[param(required = false, nullable = false)]
    created_by: Option<uuid::Uuid>,
    /// Only keys with this name.
    #[param(required = false, nullable = false, min_length = 1, max_length = 255)]
    name: Option<String>,
}

/// What a list without a filter may be asked for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "a description of what the handler reads from the query itself")]
pub struct PageParameters {
    /// Events on a page. Left out: all of them.
    #[param(required = false, nullable = false, minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// Where the page begins: from the link of the page before.
    #[param(required = false, nullable = false)]
    cursor: Option<String>,
}

/// What makes a creation one that may be sent again.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "a description of what the handler reads from the headers itself")]
pub struct IdempotencyHeader {
    /// A name for this request, such as a UUID. Sent again with the same name and body within 24 hours,
    /// it makes no second key.
    #[param(
        rename = "Idempotency-Key",
        required = false,
        nullable = false,
        min_length = 1,
        max_length = 255,
        pattern = "^[!-~]+$"
    )]
    name: Option<String>,
}

/// Why a key is revoked.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "a description of what the handler reads from the query itself")]
pub struct ReasonParameter {
    /// Why, to be kept with the key.
    #[param(required = false, nullable = false, value_type = Option<super::wire::ReasonWord>)]
    reason: Option<String>,
}

/// What a gateway may demand of a key.
pub struct DemandParameters;

impl IntoParams for DemandParameters {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let word = || ObjectBuilder::new().schema_type(Type::String);
        let id = || word().format(Some(SchemaFormat::Custom("uuid".into())));
        let parameter = |name: &str, place, text: &str| {
            ParameterBuilder::new().name(name).parameter_in(place).description(Some(text))
        };
        let scopes = ArrayBuilder::new().items(Ref::from_schema_name("Scope"));
        vec![
            parameter(
                "scope",
                ParameterIn::Query,
                "A scope that the key must hold; may be repeated",
            )
            .style(Some(ParameterStyle::Form))
            .explode(Some(true))
            .schema(Some(scopes))
            .build(),
            parameter("workspace", ParameterIn::Query, "The workspace that the key must belong to")
                .schema(Some(id()))
                .build(),
            parameter(
                "X-Keyward-Require-Scope",
                ParameterIn::Header,
                "As scope, separated by spaces",
            )
            .schema(Some(word().pattern(Some(r"^[\t !#-\[\]-~]*$"))))
            .build(),
            parameter("X-Keyward-Require-Workspace", ParameterIn::Header, "As workspace")
                .schema(Some(id()))
                .build(),
        ]
    }
}

macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident = [$($kind:ident),*];)*) => {
        $(
            $(#[$doc])*
            pub struct $name;

            impl IntoResponses for $name {
                fn responses() -> BTreeMap<String, RefOr<Response>> {
                    responses_of(&[$(Kind::$kind),*])
                }
            }
        )*
    };
}

problems! {
    /// What may go wrong whatever is asked.
    AnyProblems = [HeadersTooLarge, Internal];
    /// What may go wrong with the question whether the server can serve.
    ReadyProblems = [HeadersTooLarge, Internal, Unavailable];
    /// What may go wrong with a list.
    ListProblems = [
        InvalidRequest, MissingCredential, InvalidCredential, WrongWorkspace, InsufficientScope,
        TooManyLookups, HeadersTooLarge, Internal, Unavailable
    ];
    /// What may go wrong with a creation.
    CreateProblems = [
        InvalidRequest, InvalidBody, MissingCredential, InvalidCredential, WrongWorkspace,
        InsufficientScope, EndsSooner, BodyTimeout, BodyTooLarge, UnsupportedMediaType,
        TooManyLookups, HeadersTooLarge, Internal, Unavailable
    ];
    /// What may go wrong with a creation that may be sent again.
    OnceProblems = [
        InvalidRequest, InvalidBody, MissingCredential, InvalidCredential, WrongWorkspace,
        InsufficientScope, EndsSooner, BodyTimeout, BodyTooLarge, UnsupportedMediaType,
        IdempotencyKeyReused, TooManyLookups, HeadersTooLarge, Internal, Unavailable
    ];
    /// What may go wrong with one key.
    GetProblems = [
        InvalidRequest, MissingCredential, InvalidCredential, WrongWorkspace, InsufficientScope,
        NoSuchKey, TooManyLookups, HeadersTooLarge, Internal, Unavailable
    ];
    /// What may go wrong with a change and with a rotation.
    ChangeProblems = [
        InvalidRequest, InvalidBody, MissingCredential, InvalidCredential, WrongWorkspace,
        InsufficientScope, EndsSooner, NoSuchKey, BodyTimeout, Conflict, BodyTooLarge,
        UnsupportedMediaType, TooManyLookups, HeadersTooLarge, Internal, Unavailable
    ];
    /// What may go wrong with a revocation of the key that is presented.
    OwnProblems = [
        InvalidRequest, MissingCredential, InvalidCredential, NoSuchKey, TooManyLookups,
        HeadersTooLarge, Internal, Unavailable
    ];
    /// What may go wrong with a revocation.
    RevokeProblems = [
        InvalidRequest, MissingCredential, InvalidCredential, WrongWorkspace, InsufficientScope,
        NoSuchKey, TooManyLookups, HeadersTooLarge, Internal, Unavailable
    ];
    /// What may go wrong with a verification by body.
    VerifyProblems = [
        InvalidBody, BodyTimeout, BodyTooLarge, UnsupportedMediaType, TooManyLookups,
        HeadersTooLarge, Internal, Unavailable
    ];
    /// What a gateway is told besides that the key is good.
    ForwardAuthProblems = [
        InvalidRequest, MissingCredential, InvalidCredential, WrongWorkspace, InsufficientScope,
        TooManyLookups, HeadersTooLarge, Internal, Unavailable
    ];
}

/// One response for each status, which names the problems that have it.
fn responses_of(kinds: &[Kind]) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status: BTreeMap<String, Vec<Kind>> = BTreeMap::new();
    for &kind in kinds {
        by_status.entry(kind.status().as_str().to_owned()).or_default().push(kind);
    }
    by_status.into_iter().map(|(status, kinds)| (status, RefOr::T(response_of(&kinds)))).collect()
}

fn response_of(kinds: &[Kind]) -> Response {
    let line = |kind: &Kind| format!("{} (`{}`)", kind.title(), kind.type_uri());
    let description = kinds.iter().map(line).collect::<Vec<_>>().join("; ");
    let problem = Content::new(Some(Ref::from_schema_name("Problem")));
    let mut response =
        ResponseBuilder::new().description(description).content(PROBLEM_JSON, problem);
    let header = match kinds[0] {
        Kind::MissingCredential
        | Kind::InvalidCredential
        | Kind::InsufficientScope
        | Kind::WrongWorkspace => Some(("WWW-Authenticate", "The challenge of RFC 6750")),
        Kind::TooManyLookups | Kind::Unavailable => Some(("Retry-After", "Seconds to wait")),
        _ => None,
    };
    if let Some((name, text)) = header {
        response = response.header(name, HeaderBuilder::new().description(Some(text)).build());
    }
    response.build()
}
