//! Events, and how they are written down.

use std::net::IpAddr;
use std::str::FromStr;

use crate::audit::{AuditKey, Tag};
use crate::clock::Timestamp;
use crate::details::Reason;
use crate::id::{AccountId, EventId, KeyId, WorkspaceId};
use crate::key::{ApiKey, Status};

/// What was done to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// It was made.
    Created,
    /// It was given another name, and nothing else.
    Renamed,
    /// Some of its fields were changed: scopes, expiry, description, metadata.
    Changed,
    /// Another key was made in its place.
    Rotated,
    /// It was revoked.
    Revoked,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Created, Self::Renamed, Self::Changed, Self::Rotated, Self::Revoked];

    /// The documented word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Renamed => "renamed",
            Self::Changed => "changed",
            Self::Rotated => "rotated",
            Self::Revoked => "revoked",
        }
    }
}

/// What was read is not an event that a version of this program wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the {0} of an audit event is malformed")]
pub struct Malformed(pub &'static str);

impl FromStr for Action {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        Self::ALL.into_iter().find(|it| it.as_str() == text).ok_or(Malformed("action"))
    }
}

/// Where a request came from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// The client's address, as far as it is known.
    pub address: Option<IpAddr>,
    /// What the client says of itself.
    pub user_agent: Option<Box<str>>,
    /// The id of the request, as it is logged.
    pub request_id: Box<str>,
}

/// What is known of a change before it is made: the event is made of it and of what it did.
#[derive(Debug, Clone)]
pub struct Trace {
    /// The id of the event, if there will be one.
    pub id: EventId,
    /// When the change is made.
    pub at: Timestamp,
    /// The account that makes it. `None` where possession of the key was the proof.
    pub account: Option<AccountId>,
    /// The API key that was shown as the credential, if it was one.
    pub credential: Option<KeyId>,
    /// Where the request came from.
    pub origin: Origin,
    /// What the event is signed with.
    pub key: Option<AuditKey>,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its id.
    pub id: EventId,
    /// The workspace of the key.
    pub workspace: WorkspaceId,
    /// When it happened.
    pub at: Timestamp,
    /// The key that something was done to.
    pub key: KeyId,
    /// What was done.
    pub action: Action,
    /// More about it: of a change, the names of the fields, with spaces between them; of a rotation,
    /// the id of the new key; of a revocation, the reason if one was given.
    pub detail: Option<Box<str>>,
    /// The account that did it. `None` where possession of the key was the proof.
    pub account: Option<AccountId>,
    /// The API key that was shown as the credential, if it was one.
    pub credential: Option<KeyId>,
    /// Where the request came from.
    pub origin: Origin,
    /// Its signature. `None` where the node had no key to sign with.
    pub tag: Option<Tag>,
}

impl Trace {
    /// The event that a key was made.
    pub fn of_creation(&self, key: &ApiKey) -> Event {
        self.event(key, Action::Created, None)
    }

    /// The event of a change, from what the record was and what it became; `None` where that is the
    /// same.
    pub fn of_change(&self, before: &ApiKey, after: &ApiKey) -> Option<Event> {
        let successor = after.details.rotated_to.filter(|_| before.details.rotated_to.is_none());
        if let Some(successor) = successor {
            return Some(self.event(after, Action::Rotated, Some(successor.to_string().into())));
        }
        if after.status == Status::Revoked && before.status == Status::Active {
            let reason = after.details.revocation.and_then(|it| it.reason).map(Reason::as_str);
            return Some(self.event(after, Action::Revoked, reason.map(Into::into)));
        }
        let fields = changed_fields(before, after);
        match &*fields {
            [] => None,
            ["name"] => Some(self.event(after, Action::Renamed, None)),
            _ => Some(self.event(after, Action::Changed, Some(fields.join(" ").into()))),
        }
    }

    fn event(&self, key: &ApiKey, action: Action, detail: Option<Box<str>>) -> Event {
        let mut event = Event {
            id: self.id,
            workspace: key.workspace_id,
            at: self.at,
            key: key.id,
            action,
            detail,
            account: self.account,
            credential: self.credential,
            origin: self.origin.clone(),
            tag: None,
        };
        event.tag = self.key.as_ref().map(|key| key.tag(&event));
        event
    }
}

fn changed_fields(before: &ApiKey, after: &ApiKey) -> Vec<&'static str> {
    let (old, new) = (&before.details, &after.details);
    let fields = [
        ("name", before.name != after.name),
        ("scopes", before.named_scopes != after.named_scopes),
        ("description", old.description != new.description),
        ("metadata", old.metadata != new.metadata),
        ("expires_at", old.expires_at != new.expires_at),
    ];
    fields.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect()
}

/// The length of a field that is not there.
const ABSENT: u32 = u32::MAX;

impl Event {
    /// The event without its signature, as bytes: eleven fields, each of them its length (32 bits,
    /// big-endian; all ones where it is unset) and its bytes. Ids are 16 bytes, the time is
    /// microseconds since 1970 in 64 bits, big-endian, and everything else is UTF-8. This is what is
    /// signed, so that it never changes.
    pub fn encode(&self) -> Vec<u8> {
        let address = self.origin.address.map(|address| address.to_string());
        let text = |text: &Option<Box<str>>| text.as_deref().map(|it| it.as_bytes().to_vec());
        let fields = [
            Some(self.id.as_bytes().to_vec()),
            Some(self.workspace.as_bytes().to_vec()),
            Some(self.at.as_micros().to_be_bytes().to_vec()),
            Some(self.key.as_bytes().to_vec()),
            Some(self.action.as_str().as_bytes().to_vec()),
            text(&self.detail),
            self.account.map(|id| id.as_bytes().to_vec()),
            self.credential.map(|id| id.as_bytes().to_vec()),
            address.map(String::into_bytes),
            text(&self.origin.user_agent),
            Some(self.origin.request_id.as_bytes().to_vec()),
        ];
        let mut bytes = Vec::with_capacity(256);
        for field in fields {
            let Some(field) = field else {
                bytes.extend(ABSENT.to_be_bytes());
                continue;
            };
            // No field comes near four gigabytes.
            bytes.extend(u32::try_from(field.len()).unwrap_or(0).to_be_bytes());
            bytes.extend(field);
        }
        bytes
    }

    /// The event that [`Event::encode`] made these bytes of, with no signature.
    ///
    /// # Errors
    ///
    /// When they are not all of one event.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Fields(bytes);
        let event = Self {
            id: EventId::from_bytes(fields.needed("id")?),
            workspace: WorkspaceId::from_bytes(fields.needed("workspace")?),
            at: Timestamp::from_micros(i64::from_be_bytes(fields.needed("time")?))
                .ok_or(Malformed("time"))?,
            key: KeyId::from_bytes(fields.needed("key")?),
            action: fields.text("action")?.ok_or(Malformed("action"))?.parse()?,
            detail: fields.text("detail")?.map(Into::into),
            account: fields.array("account")?.map(AccountId::from_bytes),
            credential: fields.array("credential")?.map(KeyId::from_bytes),
            origin: Origin {
                address: fields
                    .text("address")?
                    .map(|it| it.parse().map_err(|_| Malformed("address")))
                    .transpose()?,
                user_agent: fields.text("user agent")?.map(Into::into),
                request_id: fields.text("request id")?.ok_or(Malformed("request id"))?.into(),
            },
            tag: None,
        };
        // What is written in another way than this program's would not have been signed by it.
        if fields.0.is_empty() && event.encode() == bytes {
            Ok(event)
        } else {
            Err(Malformed("end"))
        }
    }
}

/// The fields that are still to be read.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn next(&mut self, name: &'static str) -> Result<Option<&'a [u8]>, Malformed> {
        let (length, rest) = self.0.split_first_chunk().ok_or(Malformed(name))?;
        self.0 = rest;
        let length = u32::from_be_bytes(*length);
        if length == ABSENT {
            return Ok(None);
        }
        let field = rest.split_at_checked(length as usize).ok_or(Malformed(name))?;
        self.0 = field.1;
        Ok(Some(field.0))
    }

    fn array<const N: usize>(&mut self, name: &'static str) -> Result<Option<[u8; N]>, Malformed> {
        let field = self.next(name)?.map(<[u8; N]>::try_from);
        field.transpose().map_err(|_| Malformed(name))
    }

    fn needed<const N: usize>(&mut self, name: &'static str) -> Result<[u8; N], Malformed> {
        self.array(name)?.ok_or(Malformed(name))
    }

    fn text(&mut self, name: &'static str) -> Result<Option<&'a str>, Malformed> {
        self.next(name)?.map(str::from_utf8).transpose().map_err(|_| Malformed(name))
    }
}
