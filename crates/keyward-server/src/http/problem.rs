//! Errors as `application/problem+json` (RFC 9457).
//!
//! A handler returns a [`Problem`]; the front ([`super::front`]) turns it into an answer, because
//! only there the request id is known. A cause is logged there and never sent.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use keyward_core::caller::Denied;
use keyward_core::freshness::NotFresh;
use keyward_core::service::KeysError;
use keyward_core::store::{BoxError, StoreError};
use keyward_core::verify::VerifyError;
use serde::Serialize;
use utoipa::ToSchema;
use warp::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use warp::http::{HeaderName, HeaderValue, StatusCode};
use warp::reply::Response;

/// The media type of every error.
pub const PROBLEM_JSON: &str = "application/problem+json";

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $status:ident, $slug:literal, $title:literal;)*) => {
        /// The problems that there are. Each has one status, and a type that stays.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Kind {
            $($(#[$doc])* $kind,)*
        }

        impl Kind {
            /// The status of the answer.
            pub const fn status(self) -> StatusCode {
                match self {
                    $(Self::$kind => StatusCode::$status,)*
                }
            }

            /// The `type`: a URI reference that programs may compare.
            pub const fn type_uri(self) -> &'static str {
                match self {
                    $(Self::$kind => concat!("/problems/", $slug),)*
                }
            }

            /// The `title`: the same for every occurrence.
            pub const fn title(self) -> &'static str {
                match self {
                    $(Self::$kind => $title,)*
                }
            }
        }
    };
}

kinds! {
    /// A path parameter, a query parameter or a header is wrong.
    InvalidRequest = BAD_REQUEST, "invalid-request", "The request is not valid";
    /// The body is not JSON, or its fields are wrong.
    InvalidBody = BAD_REQUEST, "invalid-body", "The body is not valid";
    /// No credential was presented.
    MissingCredential = UNAUTHORIZED, "missing-credential", "A credential is needed";
    /// The credential is malformed, unknown, expired or revoked.
    InvalidCredential = UNAUTHORIZED, "invalid-credential", "The credential is not valid";
    /// The credential is good for another workspace.
    WrongWorkspace = FORBIDDEN, "wrong-workspace", "The credential is for another workspace";
    /// The credential lacks a scope.
    InsufficientScope = FORBIDDEN, "insufficient-scope", "The credential lacks a scope";
    /// The credential ends before what it is to make.
    EndsSooner = FORBIDDEN, "ends-sooner", "The credential ends sooner";
    /// No such route.
    NoSuchRoute = NOT_FOUND, "no-such-route", "There is nothing at this path";
    /// No such key in this workspace.
    NoSuchKey = NOT_FOUND, "no-such-key", "The workspace has no such key";
    /// The route does not know the method.
    MethodNotAllowed = METHOD_NOT_ALLOWED, "method-not-allowed", "The method is not allowed here";
    /// What the key is stands against what it is to become.
    Conflict = CONFLICT, "conflict", "The key cannot be changed so";
    /// A name for a request was used for another one before.
    IdempotencyKeyReused = UNPROCESSABLE_ENTITY, "idempotency-key-reused", "The idempotency key is another request's";
    /// The body did not arrive in time.
    BodyTimeout = REQUEST_TIMEOUT, "body-timeout", "The body did not arrive in time";
    /// The body is too large.
    BodyTooLarge = PAYLOAD_TOO_LARGE, "body-too-large", "The body is too large";
    /// The body is not declared as JSON.
    UnsupportedMediaType = UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The body is not JSON";
    /// More unknown keys are being looked up than may be at once.
    TooManyLookups = TOO_MANY_REQUESTS, "too-many-lookups", "Too many unknown keys at once";
    /// The headers are too large.
    HeadersTooLarge = REQUEST_HEADER_FIELDS_TOO_LARGE, "headers-too-large", "The headers are too large";
    /// A fault of the server's own.
    Internal = INTERNAL_SERVER_ERROR, "internal", "The server failed";
    /// Storage or the identity provider does not answer, so nothing can be decided.
    Unavailable = SERVICE_UNAVAILABLE, "unavailable", "The service is unavailable";
}

/// What is wrong with one field of a body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// Where the field is: a JSON pointer (RFC 6901).
    #[schema(example = "/name")]
    pub pointer: String,
    /// What is wrong with it.
    #[schema(example = "is longer than 255 characters")]
    pub detail: Cow<'static, str>,
}

/// An answer that is not the one hoped for.
#[derive(Debug)]
pub struct Problem {
    pub kind: Kind,
    detail: Cow<'static, str>,
    errors: Vec<FieldError>,
    /// Boxed, because a problem is the other half of every result.
    header: Option<Box<(HeaderName, HeaderValue)>>,
    cause: Option<BoxError>,
}

/// Problem details as they are sent (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemDetails<'a> {
    /// What kind of problem this is, as a URI reference that does not change.
    #[serde(rename = "type")]
    #[schema(example = "/problems/invalid-body")]
    pub type_uri: &'static str,
    /// The kind in words.
    #[schema(example = "The body is not valid")]
    pub title: &'static str,
    /// The status of the answer.
    #[schema(example = 400, minimum = 400, maximum = 599)]
    pub status: u16,
    /// What was wrong this time.
    #[schema(value_type = String, example = "1 field is not valid")]
    pub detail: &'a str,
    /// The request id, which is in the logs and in the `X-Request-Id` header too.
    #[schema(example = "6b1f0c2d9a4e-17")]
    pub instance: &'a str,
    /// What is wrong with which field, where fields are wrong.
    #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
    #[schema(value_type = Vec<FieldError>, required = false)]
    pub errors: &'a [FieldError],
}

impl Problem {
    /// A problem of this kind, with what was wrong this time.
    pub fn new(kind: Kind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, detail: detail.into(), errors: Vec::new(), header: None, cause: None }
    }

    /// A path parameter, a query parameter or a header is wrong.
    pub fn invalid_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::InvalidRequest, detail)
    }

    /// Fields of the body are wrong.
    pub fn invalid_fields(errors: Vec<FieldError>) -> Self {
        let detail = match errors.len() {
            1 => "1 field is not valid".into(),
            n => format!("{n} fields are not valid"),
        };
        Self { errors, ..Self::new(Kind::InvalidBody, detail) }
    }

    /// Nobody said who they are.
    pub fn missing_credential() -> Self {
        Self::new(Kind::MissingCredential, "send Authorization: Bearer with a token or an API key")
            .with_header(WWW_AUTHENTICATE, HeaderValue::from_static(r#"Bearer realm="keyward""#))
    }

    /// What was presented is malformed, unknown, expired or revoked; which, is nobody's business.
    pub fn invalid_credential() -> Self {
        let challenge =
            HeaderValue::from_static(r#"Bearer realm="keyward", error="invalid_token""#);
        Self::new(
            Kind::InvalidCredential,
            "the credential is malformed, unknown, expired or revoked",
        )
        .with_header(WWW_AUTHENTICATE, challenge)
    }

    /// The credential lacks `scope` (one, or several with spaces between them).
    pub fn insufficient_scope(detail: impl Into<Cow<'static, str>>, scope: &str) -> Self {
        let challenge =
            format!(r#"Bearer realm="keyward", error="insufficient_scope", scope="{scope}""#);
        Self::new(Kind::InsufficientScope, detail).with_text_header(WWW_AUTHENTICATE, &challenge)
    }

    /// The credential is for another workspace.
    pub fn wrong_workspace() -> Self {
        Self::new(Kind::WrongWorkspace, "the credential is not valid for this workspace")
    }

    /// The route knows `allow` only.
    pub fn method_not_allowed(allow: &'static str) -> Self {
        Self::new(Kind::MethodNotAllowed, format!("allowed here: {allow}"))
            .with_header(ALLOW, HeaderValue::from_static(allow))
    }

    /// Nothing can be decided now; trying again may help.
    pub fn unavailable(detail: &'static str) -> Self {
        Self::new(Kind::Unavailable, detail).with_header(RETRY_AFTER, HeaderValue::from_static("1"))
    }

    /// A fault of our own.
    pub fn internal(cause: impl Into<BoxError>) -> Self {
        Self::new(Kind::Internal, "the fault is logged under this request id").caused_by(cause)
    }

    /// Remembers the cause for the log.
    pub fn caused_by(mut self, cause: impl Into<BoxError>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header = Some(Box::new((name, value)));
        self
    }

    fn with_text_header(self, name: HeaderName, value: &str) -> Self {
        match HeaderValue::from_str(value) {
            Ok(value) => self.with_header(name, value),
            Err(_) => self,
        }
    }

    /// What is wrong with which field.
    #[cfg(test)]
    pub fn field_errors(&self) -> &[FieldError] {
        &self.errors
    }

    /// The causes behind the problem, outermost first, for the log.
    pub fn causes(&self) -> Option<String> {
        let cause = self.cause.as_deref()?;
        let chain = std::iter::successors(Some(cause as &dyn std::error::Error), |e| e.source());
        Some(chain.map(ToString::to_string).collect::<Vec<_>>().join(": "))
    }

    /// The answer to the request with this id.
    pub fn answer(&self, request_id: &str) -> Response {
        let status = self.kind.status();
        let details = ProblemDetails {
            type_uri: self.kind.type_uri(),
            title: self.kind.title(),
            status: status.as_u16(),
            detail: &self.detail,
            instance: request_id,
            errors: &self.errors,
        };
        // Any but those of many fields fit.
        let mut body = Vec::with_capacity(512);
        if serde_json::to_writer(&mut body, &details).is_err() {
            body.clear();
        }
        let mut response = Response::new(Bytes::from(body).into());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some((name, value)) = self.header.as_deref() {
            headers.insert(name, value.clone());
        }
        response
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.title(), self.detail)
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        match (&denied, denied.scope()) {
            (Denied::MayNotOutlive(_), _) => Self::new(Kind::EndsSooner, denied.to_string()),
            (_, None) => Self::wrong_workspace(),
            (_, Some(scope)) => Self::insufficient_scope(denied.to_string(), scope),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => {
                Self::unavailable("the storage does not answer").caused_by(error)
            }
            StoreError::Sealed => Self::unavailable(
                "the keys are being moved to another storage, or were: this one takes no changes",
            ),
            StoreError::Conflict(_) | StoreError::Corrupt(_) => Self::internal(error),
        }
    }
}

impl From<NotFresh> for Problem {
    fn from(_: NotFresh) -> Self {
        Self::unavailable("the storage cannot be asked whether the key is still good")
    }
}

impl From<VerifyError> for Problem {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::TooManyLookups => {
                Self::new(Kind::TooManyLookups, "too many keys are being looked up; try again")
                    .with_header(RETRY_AFTER, HeaderValue::from_static("1"))
            }
            VerifyError::Store(error) => error.into(),
            VerifyError::NotFresh(error) => error.into(),
        }
    }
}

impl From<KeysError> for Problem {
    fn from(error: KeysError) -> Self {
        match error {
            KeysError::Denied(denied) => denied.into(),
            KeysError::Refused(refused) => Self::new(Kind::Conflict, refused.to_string()),
            KeysError::Expiry(invalid) => Self::invalid_fields(vec![FieldError {
                pointer: "/expires_at".into(),
                detail: invalid.to_string().into(),
            }]),
            KeysError::OtherRequest => Self::new(
                Kind::IdempotencyKeyReused,
                "this Idempotency-Key was sent with another body before: send a new one",
            ),
            KeysError::NotFresh(error) => error.into(),
            KeysError::Verify(error) => error.into(),
            KeysError::Store(error) => error.into(),
            KeysError::Entropy(error) => Self::internal(error),
        }
    }
}
