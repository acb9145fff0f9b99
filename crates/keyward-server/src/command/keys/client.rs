//! Requests to a server, and what its answers mean for an exit code.

use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, LINK};
use reqwest::{Method, Response, StatusCode, Url, redirect};
use serde::Deserialize;
use serde_json::{Map, Value};
use thiserror::Error;
use zeroize::Zeroizing;

use super::options::Connection;
use super::show::printable;

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// Longest wait for the next part of an answer: the server's own 30 s, and the longest window (60 s)
/// that a revocation waits for.
const READ: Duration = Duration::from_secs(100);

/// Why a command was not done, each with an exit code of its own.
#[derive(Debug, Error)]
pub enum Failure {
    /// The server refused it, and would again.
    #[error("{0}")]
    Refused(String),
    /// What was asked for makes no sense.
    #[error("{0}")]
    Usage(String),
    /// No answer, or none for now.
    #[error("{0}")]
    NoAnswer(String),
}

impl Failure {
    /// What the process ends with.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Refused(_) => ExitCode::FAILURE,
            Self::Usage(_) => ExitCode::from(2),
            Self::NoAnswer(_) => ExitCode::from(3),
        }
    }
}

/// A server, and the credential that it is asked with.
pub struct Client {
    http: reqwest::Client,
    base: Url,
    token: Option<HeaderValue>,
}

/// An answer that is the one hoped for.
pub struct Answer {
    /// The body.
    pub text: String,
    /// The query of the page that follows, where there is one.
    pub next: Option<String>,
}

impl Client {
    /// The client for this connection. Nothing is asked yet.
    pub fn new(connection: &Connection) -> Result<Self, Failure> {
        let base = base(&connection.url)?;
        let mut http = reqwest::Client::builder()
            .user_agent("keyward")
            .connect_timeout(CONNECT)
            .read_timeout(READ)
            // A credential goes where it was meant to go.
            .redirect(redirect::Policy::none());
        if is_loopback(&base) {
            http = http.no_proxy();
        }
        if base.scheme() == "http" {
            // No certificate is asked for, and small images, which hold none, would not get further.
            http = http.tls_certs_only([]);
        }
        let http = http.build().map_err(|error| {
            Failure::Usage(format!("there is no HTTP client: {}", cause(&error)))
        })?;
        let client = Self { http, base, token: token(connection)? };
        client.warn_of_eavesdroppers();
        Ok(client)
    }

    /// Says where what is sent can be read by others.
    fn warn_of_eavesdroppers(&self) {
        if self.base.scheme() == "http" && !is_loopback(&self.base) {
            eprintln!(
                "keyward: http:// to another machine: whoever is in between can read the token and \
                 the keys"
            );
        }
    }

    /// Asks with the credential.
    pub async fn ask(
        &self,
        method: Method,
        path: &[&str],
        query: &str,
        body: Option<Map<String, Value>>,
    ) -> Result<Answer, Failure> {
        self.ask_as(method, path, query, body, None).await
    }

    /// As [`Client::ask`], with a name for the request where it has one.
    pub async fn ask_as(
        &self,
        method: Method,
        path: &[&str],
        query: &str,
        body: Option<Map<String, Value>>,
        name: Option<&str>,
    ) -> Result<Answer, Failure> {
        let token = self.token.as_ref().ok_or_else(|| {
            Failure::Usage("--token, --token-file or KEYWARD_TOKEN is needed".into())
        })?;
        let mut request = self.http.request(method, self.url(path, query)?);
        if let Some(name) = name {
            request = request.header("idempotency-key", name);
        }
        send(request.header(AUTHORIZATION, token), body).await
    }

    /// Asks with nothing but what the body holds.
    pub async fn ask_as_anybody(
        &self,
        method: Method,
        path: &[&str],
        body: Map<String, Value>,
    ) -> Result<Answer, Failure> {
        send(self.http.request(method, self.url(path, "")?), Some(body)).await
    }

    fn url(&self, path: &[&str], query: &str) -> Result<Url, Failure> {
        let mut url = self.base.clone();
        let mut segments = url.path_segments_mut().map_err(|()| no_url())?;
        segments.pop_if_empty().extend(["api", "v1"]).extend(path);
        drop(segments);
        url.set_query(Some(query).filter(|query| !query.is_empty()));
        Ok(url)
    }
}

fn no_url() -> Failure {
    // It is not shown: it may hold a password.
    Failure::Usage(
        "--url is http:// or https:// and the server's name, without a password, a query or a fragment"
            .into(),
    )
}

fn base(text: &str) -> Result<Url, Failure> {
    let url = Url::parse(text).map_err(|_| no_url())?;
    let bare = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if bare && url.has_host() && matches!(url.scheme(), "http" | "https") {
        Ok(url)
    } else {
        Err(no_url())
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// The credential, as a header that is never shown.
fn token(connection: &Connection) -> Result<Option<HeaderValue>, Failure> {
    let token = match (&connection.token, &connection.token_file) {
        (Some(token), _) => Zeroizing::new(token.to_string()),
        (None, Some(file)) => Zeroizing::new(std::fs::read_to_string(file).map_err(|error| {
            Failure::Usage(format!("the token cannot be read from {}: {error}", file.display()))
        })?),
        (None, None) => return Ok(None),
    };
    let bearer = Zeroizing::new(format!("Bearer {}", token.trim()));
    let mut header = HeaderValue::from_str(&bearer)
        .map_err(|_| Failure::Usage("the token has characters that no token has".into()))?;
    header.set_sensitive(true);
    Ok(Some(header))
}

async fn send(
    request: reqwest::RequestBuilder,
    body: Option<Map<String, Value>>,
) -> Result<Answer, Failure> {
    let request = match body {
        Some(body) => {
            request.header(CONTENT_TYPE, "application/json").body(Value::Object(body).to_string())
        }
        None => request,
    };
    let response = request.send().await.map_err(lost)?;
    let status = response.status();
    let next = next_query(&response);
    let text = response.text().await.map_err(lost)?;
    if status.is_success() { Ok(Answer { text, next }) } else { Err(refusal(status, &text)) }
}

/// What became of a request that has no answer.
fn lost(error: reqwest::Error) -> Failure {
    let what = if error.is_connect() {
        "the server cannot be reached"
    } else {
        "the answer did not come whole, and what was asked for may have been done"
    };
    Failure::NoAnswer(format!("{what}: {}", cause(&error.without_url())))
}

/// What caused the error in the first place. All that lies between says that there was one.
fn cause(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.last().map(ToString::to_string).unwrap_or_default()
}

/// The query of the page that a `Link` header calls the next (RFC 8288). The rest of its address is
/// not followed: it is this server that was to be asked.
fn next_query(response: &Response) -> Option<String> {
    let link = response.headers().get(LINK)?.to_str().ok()?;
    let (address, relation) = link.strip_prefix('<')?.split_once('>')?;
    let query = address.split_once('?')?.1;
    (relation.trim_matches([';', ' ']) == r#"rel="next""#).then(|| query.to_owned())
}

/// The parts of a problem (RFC 9457) that are told.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Problem {
    detail: String,
    instance: String,
    errors: Vec<FieldError>,
}

#[derive(Deserialize)]
struct FieldError {
    pointer: String,
    detail: String,
}

/// What a status other than 2xx means, in the server's words where it has any.
fn refusal(status: StatusCode, body: &str) -> Failure {
    let problem: Problem = serde_json::from_str(body).unwrap_or_default();
    let mut text = match &*problem.detail {
        "" => format!("the answer has the status {status}: is there a Keyward at --url?"),
        detail => detail.to_owned(),
    };
    for (at, FieldError { pointer, detail }) in problem.errors.iter().enumerate() {
        let before = if at == 0 { ": " } else { ", " };
        text.extend([before, pointer.trim_start_matches('/'), " ", detail]);
    }
    let for_now = matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
    if status.is_server_error() && !problem.instance.is_empty() {
        text = format!("{text} (request {})", problem.instance);
    }
    let text = printable(&text);
    if for_now || status.is_server_error() {
        Failure::NoAnswer(text)
    } else {
        Failure::Refused(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_with_more_than_a_place_is_refused_and_not_shown() {
        for good in ["http://127.0.0.1:8080", "https://keys.example/base/", "http://[::1]:8080/"] {
            assert!(base(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "keys.example",
            "ftp://keys.example",
            "http://",
            "https://u:hunter2@keys.example",
            "https://keys.example/?hunter2",
            "https://keys.example/#hunter2",
        ] {
            let Err(Failure::Usage(text)) = base(bad) else { panic!("{bad}") };
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for (url, expected) in [
            ("http://127.0.0.1:8080", true),
            ("http://127.8.0.1", true),
            ("http://[::1]:8080", true),
            ("http://LOCALHOST", true),
            ("http://localhost.example", false),
            ("http://10.0.0.1", false),
            ("http://[2001:db8::1]", false),
        ] {
            assert_eq!(is_loopback(&base(url).unwrap()), expected, "{url}");
        }
    }

    #[test]
    fn a_server_may_be_below_a_path() {
        for text in ["https://keys.example/base", "https://keys.example/base/"] {
            let client = Client {
                http: reqwest::Client::builder().tls_certs_only([]).build().unwrap(),
                base: base(text).unwrap(),
                token: None,
            };
            let url = client.url(&["workspaces", "a/b"], "limit=1").unwrap();
            assert_eq!(url.as_str(), "https://keys.example/base/api/v1/workspaces/a%2Fb?limit=1");
        }
    }

    #[test]
    fn what_a_stranger_says_does_not_steer_the_terminal() {
        let body =
            r#"{"detail":"\u001b[2Jgone","errors":[{"pointer":"/name","detail":"is\u0007 bad"}]}"#;
        let Failure::Refused(text) = refusal(StatusCode::BAD_REQUEST, body) else { panic!() };
        assert_eq!(text, "\u{fffd}[2Jgone: name is\u{fffd} bad");
        for (status, again) in [(404, false), (408, true), (429, true), (302, false), (503, true)] {
            let failure = refusal(StatusCode::from_u16(status).unwrap(), "<html>");
            assert_eq!(matches!(failure, Failure::NoAnswer(_)), again, "{status}");
        }
    }
}
