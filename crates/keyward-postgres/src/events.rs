//! The audit trail: its rows, and the statements about it.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use keyward_core::audit::{Event, EventPosition, Link, NewLink, Origin, Recorded, Tag};
use keyward_core::clock::Timestamp;
use keyward_core::id::WorkspaceId;
use keyward_core::store::StoreError;
use uuid::Uuid;

use crate::adding::insert_on;
use crate::changing::durable;
use crate::connections::{Connections, Repeat};
use crate::row::{Columns, column_time};

/// The advisory lock of whoever adds links: one more than that of migrations.
const LINKING: i64 = 0x006b_6579_7761_7265;

/// A row of `keyward.audit_events`.
#[derive(Debug)]
struct Row {
    id: Uuid,
    workspace_id: Uuid,
    created_at: DateTime<Utc>,
    key_id: Uuid,
    action: String,
    detail: Option<String>,
    account_id: Option<Uuid>,
    credential_id: Option<Uuid>,
    address: Option<String>,
    user_agent: Option<String>,
    request_id: String,
    tag: Option<Vec<u8>>,
    number: Option<i64>,
    hash: Option<Vec<u8>>,
}

#[derive(Debug, thiserror::Error)]
#[error("the column {0} of an audit event is malformed")]
struct Malformed(&'static str);

impl Row {
    fn into_recorded(self) -> Result<Recorded, StoreError> {
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

fn link(number: i64, hash: Vec<u8>) -> Result<Link, Malformed> {
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

/// One page of the events of a workspace, in two stretches of the index as [`crate::reading::page`].
pub async fn page(
    connections: &Connections,
    workspace: WorkspaceId,
    after: Option<EventPosition>,
    limit: usize,
) -> Result<Vec<Recorded>, StoreError> {
    let (time, id) = after.map(|it| (column_time(it.at), it.id.as_uuid())).unzip();
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = connections
        .run(Repeat::Always, |connection| {
            let query = sqlx::query_as!(
                Row,
                r#"SELECT id AS "id!", workspace_id AS "workspace_id!", created_at AS "created_at!",
                       key_id AS "key_id!", action AS "action!", detail, account_id, credential_id,
                       address, user_agent, request_id AS "request_id!", tag, number, hash
                FROM (
                    (SELECT * FROM keyward.audit_events
                    WHERE workspace_id = $1 AND created_at = $2 AND id > $3
                    ORDER BY id
                    LIMIT $4)
                    UNION ALL
                    (SELECT * FROM keyward.audit_events
                    WHERE workspace_id = $1 AND created_at < coalesce($2, 'infinity')
                    ORDER BY created_at DESC, id
                    LIMIT $4)
                ) AS behind
                ORDER BY created_at DESC, id
                LIMIT $4"#,
                workspace.as_uuid(),
                time,
                id,
                limit,
            );
            Box::pin(query.fetch_all(connection))
        })
        .await?;
    rows.into_iter().map(Row::into_recorded).collect()
}

/// One page of the chain of a workspace.
pub async fn chain(
    connections: &Connections,
    workspace: WorkspaceId,
    after: u64,
    limit: usize,
) -> Result<Vec<Recorded>, StoreError> {
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = connections
        .run(Repeat::Always, |connection| {
            let query = sqlx::query_as!(
                Row,
                "SELECT id, workspace_id, created_at, key_id, action, detail, account_id,
                        credential_id, address, user_agent, request_id, tag, number, hash
                FROM keyward.audit_events
                WHERE workspace_id = $1 AND number > $2
                ORDER BY number
                LIMIT $3",
                workspace.as_uuid(),
                after,
                limit,
            );
            Box::pin(query.fetch_all(connection))
        })
        .await?;
    rows.into_iter().map(Row::into_recorded).collect()
}

/// One page of the events that are signed and not sealed.
pub async fn unsealed(
    connections: &Connections,
    after: Option<EventPosition>,
    limit: usize,
) -> Result<Vec<Event>, StoreError> {
    let (time, id) = after.map(|it| (column_time(it.at), it.id.as_uuid())).unzip();
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = connections
        .run(Repeat::Always, |connection| {
            let query = sqlx::query_as!(
                Row,
                "SELECT id, workspace_id, created_at, key_id, action, detail, account_id,
                        credential_id, address, user_agent, request_id, tag, number, hash
                FROM keyward.audit_events
                WHERE number IS NULL AND tag IS NOT NULL
                  AND (created_at, id) > (coalesce($1, '-infinity'::timestamptz),
                                          coalesce($2, '00000000-0000-0000-0000-000000000000'::uuid))
                ORDER BY created_at, id
                LIMIT $3",
                time,
                id,
                limit,
            );
            Box::pin(query.fetch_all(connection))
        })
        .await?;
    rows.into_iter().map(|row| row.into_recorded().map(|it| it.event)).collect()
}

/// The newest link of each of these workspaces.
pub async fn heads(
    connections: &Connections,
    workspaces: &[WorkspaceId],
) -> Result<Vec<Option<Link>>, StoreError> {
    let asked: Vec<Uuid> = workspaces.iter().map(WorkspaceId::as_uuid).collect();
    let rows = connections
        .run(Repeat::Always, |connection| {
            let query = sqlx::query!(
                r#"SELECT head.number AS "number?", head.hash AS "hash?"
                FROM unnest($1::uuid[]) WITH ORDINALITY AS asked (workspace_id, position)
                LEFT JOIN keyward.audit_heads AS head USING (workspace_id)
                ORDER BY position"#,
                &asked,
            );
            Box::pin(query.fetch_all(connection))
        })
        .await?;
    let head = |(number, hash): (Option<i64>, Option<Vec<u8>>)| {
        let head = number.zip(hash).map(|(number, hash)| link(number, hash)).transpose();
        head.map_err(|malformed| StoreError::Corrupt(Box::new(malformed)))
    };
    rows.into_iter().map(|row| head((row.number, row.hash))).collect()
}

/// One page of the workspaces that have events: a probe of the index for each.
pub async fn workspaces(
    connections: &Connections,
    after: Option<WorkspaceId>,
    limit: usize,
) -> Result<Vec<WorkspaceId>, StoreError> {
    let after = after.as_ref().map(WorkspaceId::as_uuid);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let found = connections
        .run(Repeat::Always, |connection| {
            let query = sqlx::query_scalar!(
                r#"WITH RECURSIVE found AS (
                    (SELECT workspace_id FROM keyward.audit_events
                    WHERE $1::uuid IS NULL OR workspace_id > $1
                    ORDER BY workspace_id
                    LIMIT 1)
                    UNION ALL
                    SELECT (
                        SELECT workspace_id FROM keyward.audit_events
                        WHERE workspace_id > found.workspace_id
                        ORDER BY workspace_id
                        LIMIT 1
                    )
                    FROM found
                    WHERE found.workspace_id IS NOT NULL
                )
                SELECT workspace_id AS "workspace_id!" FROM found
                WHERE workspace_id IS NOT NULL
                LIMIT $2"#,
                after,
                limit,
            );
            Box::pin(query.fetch_all(connection))
        })
        .await?;
    Ok(found.into_iter().map(Into::into).collect())
}

/// Adds links to the chains of their workspaces, all or none.
pub async fn add_links(
    connections: &Connections,
    links: &Arc<[NewLink]>,
) -> Result<bool, StoreError> {
    connections
        .run(Repeat::IfNothingWasDone, |connection| {
            let links = Arc::clone(links);
            Box::pin(async move { link_on(connection, &links).await })
        })
        .await
}

async fn link_on(
    connection: &mut sqlx::PgConnection,
    links: &[NewLink],
) -> Result<bool, sqlx::Error> {
    let mut transaction = durable(connection).await?;
    // One at a time. Who is not the first has nothing to do, and need not wait to find that out.
    let first = sqlx::query_scalar!(r#"SELECT pg_try_advisory_xact_lock($1) AS "first!""#, LINKING);
    if !first.fetch_one(&mut *transaction).await? {
        transaction.rollback().await?;
        return Ok(false);
    }
    let columns = LinkColumns::of(links);
    let fit = sqlx::query_scalar!(
        r#"SELECT NOT EXISTS (
            SELECT FROM (
                SELECT workspace_id, min(number) AS first, max(number) AS last, count(*) AS links
                FROM unnest($1::uuid[], $2::bigint[]) AS given (workspace_id, number)
                GROUP BY workspace_id
            ) AS given
            LEFT JOIN keyward.audit_heads AS head USING (workspace_id)
            WHERE given.first <> coalesce(head.number, 0) + 1
               OR given.links <> given.last - given.first + 1
        ) AS "fit!""#,
        &columns.workspaces,
        &columns.numbers,
    );
    let fit = fit.fetch_one(&mut *transaction).await?;
    let linked = sqlx::query!(
        "UPDATE keyward.audit_events AS event SET number = given.number, hash = given.hash
        FROM unnest($1::uuid[], $2::timestamptz[], $3::uuid[], $4::bigint[], $5::bytea[])
            AS given (workspace_id, created_at, id, number, hash)
        WHERE event.workspace_id = given.workspace_id AND event.created_at = given.created_at
          AND event.id = given.id AND event.number IS NULL AND event.tag IS NOT NULL",
        &columns.workspaces,
        &columns.times,
        &columns.ids,
        &columns.numbers,
        &columns.hashes,
    );
    if !fit || linked.execute(&mut *transaction).await?.rows_affected() != links.len() as u64 {
        transaction.rollback().await?;
        return Ok(false);
    }
    raise_heads(&mut transaction, &columns).await?;
    transaction.commit().await?;
    Ok(true)
}

/// The newest of the links becomes the head of its workspace.
async fn raise_heads(
    connection: &mut sqlx::PgConnection,
    columns: &LinkColumns,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO keyward.audit_heads AS head (workspace_id, number, hash)
        SELECT DISTINCT ON (workspace_id) workspace_id, number, hash
        FROM unnest($1::uuid[], $2::bigint[], $3::bytea[]) AS given (workspace_id, number, hash)
        ORDER BY workspace_id, number DESC
        ON CONFLICT (workspace_id) DO UPDATE SET number = excluded.number, hash = excluded.hash
        WHERE head.number < excluded.number",
        &columns.workspaces,
        &columns.numbers,
        &columns.hashes,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Links, column by column.
#[derive(Debug, Default)]
struct LinkColumns {
    workspaces: Vec<Uuid>,
    times: Vec<DateTime<Utc>>,
    ids: Vec<Uuid>,
    numbers: Vec<i64>,
    hashes: Vec<Vec<u8>>,
}

impl LinkColumns {
    fn of(links: &[NewLink]) -> Self {
        let mut columns = Self::default();
        for NewLink { workspace, event, link } in links {
            columns.workspaces.push(workspace.as_uuid());
            columns.times.push(column_time(event.at));
            columns.ids.push(event.id.as_uuid());
            columns.numbers.push(column_number(link));
            columns.hashes.push(link.hash.to_vec());
        }
        columns
    }
}

/// Adds events of another store, with their links.
pub async fn import(connections: &Connections, events: &Arc<[Recorded]>) -> Result<(), StoreError> {
    connections
        .run(Repeat::IfNothingWasDone, |connection| {
            let events = Arc::clone(events);
            Box::pin(async move {
                let mut transaction = durable(connection).await?;
                // Whoever adds links meanwhile waits, or gives up.
                sqlx::query!("SELECT pg_advisory_xact_lock($1)", LINKING)
                    .fetch_one(&mut *transaction)
                    .await?;
                let columns = events.iter().cloned().collect();
                insert_on(&mut transaction, &Columns::default(), &columns).await?;
                let linked = events.iter().filter_map(|it| {
                    let (workspace, event) = (it.event.workspace, (&it.event).into());
                    it.link.map(|link| NewLink { workspace, event, link })
                });
                let linked: Vec<NewLink> = linked.collect();
                raise_heads(&mut transaction, &LinkColumns::of(&linked)).await?;
                transaction.commit().await
            })
        })
        .await
}
