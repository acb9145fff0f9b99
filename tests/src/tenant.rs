//! One workspace and a caller in it: the documented calls, by name.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use chrono::{DateTime, FixedOffset};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::client::{Answer, Client, Request};

/// A workspace with a caller.
#[derive(Debug, Clone)]
pub struct Tenant {
    client: Client,
    workspace: Uuid,
    token: String,
}

/// The documented key object, its members in their order. Written as JSON it is what the server
/// must have sent, to the byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the members are documented with the API")]
pub struct KeyObject {
    pub id: Uuid,
    pub workspace_id: Uuid,
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    pub key_prefix: String,
    pub status: String,
    pub created_by: Uuid,
    pub created_at: String,
    pub updated_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotated_from: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotated_to: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_by: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<String>,
}

impl KeyObject {
    /// The raw key, which only a created object has.
    pub fn raw(&self) -> &str {
        self.key.as_deref().expect("the key was just created")
    }

    /// The object as every later answer shows it.
    #[must_use]
    pub fn without_raw(self) -> Self {
        Self { key: None, ..self }
    }

    /// Where the object stands in a list, smaller first: newest first, equal times by id.
    pub fn place(&self) -> (Reverse<DateTime<FixedOffset>>, Uuid) {
        let created_at = DateTime::parse_from_rfc3339(&self.created_at);
        (Reverse(created_at.expect("times are RFC 3339")), self.id)
    }

    /// The object as JSON.
    pub fn text(&self) -> String {
        serde_json::to_string(self).expect("the object is text")
    }
}

impl Tenant {
    /// A workspace and a credential for it.
    pub fn new(client: Client, workspace: Uuid, token: String) -> Self {
        Self { client, workspace, token }
    }

    /// The same workspace through another credential.
    #[must_use]
    pub fn with_credential(&self, credential: impl Into<String>) -> Self {
        Self { token: credential.into(), ..self.clone() }
    }

    /// The same workspace and credential on another server.
    #[must_use]
    pub fn on(&self, client: Client) -> Self {
        Self { client, ..self.clone() }
    }

    /// The workspace.
    pub fn workspace(&self) -> Uuid {
        self.workspace
    }

    /// The caller's credential.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The client that calls are made with.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The path of the workspace's keys.
    pub fn keys_path(&self) -> String {
        format!("/api/v1/workspaces/{}/api-keys", self.workspace)
    }

    /// The path of one key.
    pub fn key_path(&self, id: Uuid) -> String {
        format!("{}/{id}", self.keys_path())
    }

    /// A request for the workspace's keys by this caller.
    pub fn request(&self, method: &str) -> Request {
        self.client.request(method, &self.keys_path()).bearer(&self.token)
    }

    /// Sends a body to the create call.
    pub async fn post(&self, body: impl Into<Vec<u8>>) -> Answer {
        self.request("POST").json(body).send().await
    }

    /// Creates a key with a name alone.
    pub async fn create(&self, name: &str) -> KeyObject {
        self.created(json!({ "name": name })).await
    }

    /// Creates a key with these scopes.
    pub async fn create_with_scopes(&self, scopes: &[&str]) -> KeyObject {
        self.created(json!({ "name": "scoped", "scopes": scopes })).await
    }

    /// Lists the keys.
    pub async fn list(&self) -> Vec<KeyObject> {
        parse(&self.request("GET").send().await.expect(200))
    }

    /// Asks for a key to be revoked.
    pub async fn delete(&self, id: Uuid) -> Answer {
        self.client.delete(&self.key_path(id)).bearer(&self.token).send().await
    }

    /// Revokes a key.
    pub async fn revoke(&self, id: Uuid) {
        self.delete(id).await.expect(200);
    }

    /// What the verify call says of a key: `valid`, or the code.
    pub async fn verdict(&self, key: &str) -> String {
        let answer = verify(&self.client, &json!({ "key": key })).await.expect(200).json();
        if answer["valid"] == true {
            return "valid".into();
        }
        answer["code"].as_str().expect("a key that is not valid has a code").into()
    }

    /// What the forward-auth endpoint says of a key.
    pub async fn auth(&self, key: &str) -> u16 {
        self.client.get("/api/v1/auth").header("x-api-key", key).send().await.status
    }

    /// Sends a change of a key.
    pub async fn patch(&self, id: Uuid, body: Value) -> Answer {
        let request = self.client.request("PATCH", &self.key_path(id)).bearer(&self.token);
        request.json(body.to_string()).send().await
    }

    /// Changes a key, and returns it as it is then.
    pub async fn edit(&self, id: Uuid, body: Value) -> KeyObject {
        parse(&self.patch(id, body).await.expect(200))
    }

    /// Asks for a key to be rotated.
    pub async fn post_rotation(&self, id: Uuid, body: Value) -> Answer {
        let path = format!("{}/rotate", self.key_path(id));
        self.client.post(&path).bearer(&self.token).json(body.to_string()).send().await
    }

    /// Rotates a key with this grace, and returns the new one.
    pub async fn rotate(&self, id: Uuid, grace_seconds: u32) -> KeyObject {
        let answer = self.post_rotation(id, json!({ "grace_seconds": grace_seconds })).await;
        parse(&answer.expect(201))
    }

    /// One key, without when it was last used: that becomes known at some time after it was.
    pub async fn get(&self, id: Uuid) -> KeyObject {
        KeyObject { last_used_at: None, ..self.shown(id).await }
    }

    /// When a key was last used, where that is known.
    pub async fn last_use(&self, id: Uuid) -> Option<String> {
        self.shown(id).await.last_used_at
    }

    async fn shown(&self, id: Uuid) -> KeyObject {
        parse(&self.client.get(&self.key_path(id)).bearer(&self.token).send().await.expect(200))
    }

    /// Creates a key of which this is said.
    pub async fn created(&self, body: Value) -> KeyObject {
        parse(&self.post(body.to_string()).await.expect(201))
    }
}

/// Sends a body to the verify call.
pub async fn verify(client: &Client, body: &Value) -> Answer {
    client.post("/api/v1/api-keys/verify").json(body.to_string()).send().await
}

/// The body of an answer.
pub fn parse<T: serde::de::DeserializeOwned>(answer: &Answer) -> T {
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}
