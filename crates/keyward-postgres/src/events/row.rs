//! Rows of the audit trail, and the events and links that they are.

use chrono::{DateTime, Utc};
use keyward_core::audit::{Event, Link, NewLink, Origin, Recorded, Tag};
use keyward_core::clock::Timestamp;
use keyward_core::store::StoreError;
use uuid::Uuid;

use crate::row::column_time;

/// A row of `keyward.audit_events`.
#[derive(Debug)]
pub struct Row {
    pub id: Uuid,
    pub workspace_id: Uuid,
    pub created_at: DateTime<Utc>,
    pub key_id: Uuid,
    pub action: String,
    pub detail: Option<String>,
    pub account_id: Option<Uuid>,
    pub credential_id: Option<Uuid>,
    pub address: Option<String>,
    pub user_agent: Option<String>,
    pub request_id: String,
    pub tag: Option<Vec<u8>>,
    pub number: Option<i64>,
    pub hash: Option<Vec<u8>>,
}

#[derive(Debug, thiserror::Error)]
#[error("the column {0} of an audit event is malformed")]
pub struct Malformed(&'static str);

impl Row {
    /// The event. Strict: what cannot be what it should be is an error and never a guess.
    pub fn into_recorded(self) -> Result<Recorded, StoreError> {
        self.decode().map_err(|malformed| StoreError::Corrupt(Box::new(malformed)))
    }

    fn decode(self) -> Result<Recorded, Malformed> {
        let bytes = |bytes: Vec<u8>, column| bytes.try_into().map_err(|_| Malformed(column));
        let tag = self.tag.map(|tag| bytes(tag, "tag")).transpose()?;
        let link = match (self.number, self.hash) {
            (Some(number), Some(hash)) => Some(link(number, hash)?),
            _ => None,
        };
        let address = self.address.map(|it| it.parse().map_err(|_| Malformed("address")));
        let at = Timestamp::from_micros(self.created_at.timestamp_micros());
        let event = Event {
            id: self.id.into(),
            workspace: self.workspace_id.into(),
            at: at.ok_or(Malformed("created_at"))?,
            key: self.key_id.into(),
            action: self.action.parse().map_err(|_| Malformed("action"))?,
            detail: self.detail.map(Into::into),
            account: self.account_id.map(Into::into),
            credential: self.credential_id.map(Into::into),
            origin: Origin {
                address: address.transpose()?,
                user_agent: self.user_agent.map(Into::into),
                request_id: self.request_id.into(),
            },
            tag: tag.map(Tag),
        };
        Ok(Recorded { event, link })
    }
}

/// A link out of its columns.
pub fn link(number: i64, hash: Vec<u8>) -> Result<Link, Malformed> {
    let number = number.try_into().map_err(|_| Malformed("number"))?;
    Ok(Link { number, hash: hash.try_into().map_err(|_| Malformed("hash"))? })
}

/// The value of a link's number in a column.
fn column_number(link: &Link) -> i64 {
    // No chain has as many events.
    i64::try_from(link.number).unwrap_or(i64::MAX)
}

/// Events, column by column: what a statement unnests.
#[derive(Debug, Default)]
pub struct EventColumns {
    pub ids: Vec<Uuid>,
    pub workspaces: Vec<Uuid>,
    pub times: Vec<DateTime<Utc>>,
    pub keys: Vec<Uuid>,
    pub actions: Vec<String>,
    pub details: Vec<Option<String>>,
    pub accounts: Vec<Option<Uuid>>,
    pub credentials: Vec<Option<Uuid>>,
    pub addresses: Vec<Option<String>>,
    pub agents: Vec<Option<String>>,
    pub requests: Vec<String>,
    pub tags: Vec<Option<Vec<u8>>>,
    pub numbers: Vec<Option<i64>>,
    pub hashes: Vec<Option<Vec<u8>>>,
}

impl FromIterator<Event> for EventColumns {
    fn from_iter<T: IntoIterator<Item = Event>>(events: T) -> Self {
        events.into_iter().map(|event| Recorded { event, link: None }).collect()
    }
}

impl FromIterator<Recorded> for EventColumns {
    fn from_iter<T: IntoIterator<Item = Recorded>>(events: T) -> Self {
        let mut columns = Self::default();
        for Recorded { event, link } in events {
            columns.ids.push(event.id.as_uuid());
            columns.workspaces.push(event.workspace.as_uuid());
            columns.times.push(column_time(event.at));
            columns.keys.push(event.key.as_uuid());
            columns.actions.push(event.action.as_str().to_owned());
            columns.details.push(event.detail.map(Into::into));
            columns.accounts.push(event.account.map(|it| it.as_uuid()));
            columns.credentials.push(event.credential.map(|it| it.as_uuid()));
            columns.addresses.push(event.origin.address.map(|it| it.to_string()));
            columns.agents.push(event.origin.user_agent.map(Into::into));
            columns.requests.push(event.origin.request_id.into());
            columns.tags.push(event.tag.map(|Tag(tag)| tag.to_vec()));
            columns.numbers.push(link.as_ref().map(column_number));
            columns.hashes.push(link.map(|it| it.hash.to_vec()));
        }
        columns
    }
}

/// Links, column by column.
#[derive(Debug, Default)]
pub struct LinkColumns {
    pub workspaces: Vec<Uuid>,
    pub times: Vec<DateTime<Utc>>,
    pub ids: Vec<Uuid>,
    pub numbers: Vec<i64>,
    pub hashes: Vec<Vec<u8>>,
}

impl LinkColumns {
    /// The columns of these links.
    pub fn of(links: &[NewLink]) -> Self {
        let mut columns = Self::default();
        for NewLink { event, link } in links {
            columns.workspaces.push(event.workspace.as_uuid());
            columns.times.push(column_time(event.at));
            columns.ids.push(event.id.as_uuid());
            columns.numbers.push(column_number(link));
            columns.hashes.push(link.hash.to_vec());
        }
        columns
    }
}
