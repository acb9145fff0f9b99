//! A plain client, and what it is answered.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::wait::PATIENCE;

/// A client of one server, which keeps its connections.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
}

impl Client {
    /// A client of the server at this address.
    pub fn new(address: SocketAddr) -> Self {
        let http = reqwest::Client::builder()
            .timeout(PATIENCE)
            // Below the ten seconds after which the server closes an idle connection.
            .pool_idle_timeout(Duration::from_secs(5))
            .no_proxy()
            .build()
            .expect("a client needs nothing that could be missing");
        Self { http, base: format!("http://{address}") }
    }

    /// A request of any method.
    pub fn request(&self, method: &str, path: &str) -> Request {
        let method = Method::from_bytes(method.as_bytes()).expect("the method is a token");
        Request(self.http.request(method, format!("{}{path}", self.base)))
    }

    /// A GET request.
    pub fn get(&self, path: &str) -> Request {
        self.request("GET", path)
    }

    /// A POST request.
    pub fn post(&self, path: &str) -> Request {
        self.request("POST", path)
    }

    /// A DELETE request.
    pub fn delete(&self, path: &str) -> Request {
        self.request("DELETE", path)
    }

    /// The value of a metric without labels.
    pub async fn metric(&self, name: &str) -> f64 {
        let body = self.get("/metrics").send().await.expect(200).body;
        let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
        body.lines().find_map(value).unwrap_or_else(|| panic!("there is no {name}:\n{body}"))
    }
}

/// A request that is being put together.
#[derive(Debug)]
#[must_use]
pub struct Request(reqwest::RequestBuilder);

impl Request {
    /// With a header. One that is there already stays there too.
    pub fn header(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        Self(self.0.header(name, value.as_ref()))
    }

    /// With `Authorization: Bearer`.
    pub fn bearer(self, credential: &str) -> Self {
        self.header("authorization", format!("Bearer {credential}"))
    }

    /// With a body that says to be JSON.
    pub fn json(self, body: impl Into<Vec<u8>>) -> Self {
        self.header("content-type", "application/json").body(body)
    }

    /// With a body that says nothing of itself.
    pub fn body(self, body: impl Into<Vec<u8>>) -> Self {
        Self(self.0.body(body.into()))
    }

    /// Sends it and reads the whole answer.
    pub async fn send(self) -> Answer {
        self.try_send().await.expect("the server answers")
    }

    /// Sends it and reads the whole answer, if there is one.
    pub async fn try_send(self) -> reqwest::Result<Answer> {
        let response = self.0.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = String::from_utf8_lossy(&response.bytes().await?).into_owned();
        Ok(Answer { status, headers, body })
    }

    /// Sends it and leaves the body to be read.
    pub async fn stream(self) -> reqwest::Response {
        self.0.send().await.expect("the server answers")
    }
}

/// An answer, with its body as it came.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The one header of this name, or `""` where there is none.
    pub fn header(&self, name: &str) -> &str {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().map_or("", |value| value.to_str().expect("headers are text"));
        assert!(values.next().is_none(), "{name} is there twice: {:?}", self.headers);
        value
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Asserts the status, and returns the answer.
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// Asserts that this is a problem of this status in the documented form, to the byte, and
    /// returns the answer.
    pub fn expect_problem(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let problem = self.json();
        let text = |member: &str| match problem[member].as_str() {
            Some(text) if !text.is_empty() => Value::from(text).to_string(),
            _ => panic!("no {member}: {self:?}"),
        };
        let slug = problem["type"].as_str().and_then(|path| path.strip_prefix("/problems/"));
        let is_slug = |slug: &str| {
            !slug.is_empty() && slug.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
        };
        assert!(slug.is_some_and(is_slug), "{self:?}");
        assert_eq!(problem["instance"], self.header("x-request-id"), "{self:?}");
        let errors = match &problem["errors"] {
            Value::Null => String::new(),
            errors => format!(r#","errors":{}"#, field_errors(errors)),
        };
        let expected = format!(
            r#"{{"type":{},"title":{},"status":{status},"detail":{},"instance":{}{errors}}}"#,
            text("type"),
            text("title"),
            text("detail"),
            text("instance"),
        );
        assert_eq!(self.body, expected);
        self
    }

    /// Asserts that this is a 400 about the field at this JSON pointer alone.
    pub fn expect_field_error(self, pointer: &str) -> Self {
        let answer = self.expect_problem(400);
        let errors = &answer.json()["errors"];
        assert_eq!(errors.as_array().map(Vec::len), Some(1), "{answer:?}");
        assert_eq!(errors[0]["pointer"], pointer, "{answer:?}");
        answer
    }
}

/// The field errors as they must be written.
fn field_errors(errors: &Value) -> String {
    let one = |error: &Value| {
        let (pointer, detail) = (&error["pointer"], &error["detail"]);
        assert!(pointer.is_string() && detail.is_string(), "{errors}");
        format!(r#"{{"pointer":{pointer},"detail":{detail}}}"#)
    };
    let list = errors.as_array().filter(|list| !list.is_empty()).expect("a list of errors");
    format!("[{}]", list.iter().map(one).collect::<Vec<_>>().join(","))
}
