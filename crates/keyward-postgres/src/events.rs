//! The audit trail: its rows, and the statements about it.

mod row;

use std::sync::Arc;

use keyward_core::audit::{Event, EventPosition, Link, NewLink, Recorded};
use keyward_core::id::WorkspaceId;
use keyward_core::store::StoreError;
use uuid::Uuid;

pub use self::row::EventColumns;
use self::row::{LinkColumns, Row, link};
use crate::adding::insert_on;
use crate::changing::durable;
use crate::connections::{Connections, Repeat};
use crate::row::{Columns, column_time};

/// The advisory lock of whoever adds links: one more than that of migrations.
const LINKING: i64 = 0x006b_6579_7761_7265;

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
    // One that cannot be read is none that a node has signed. The verification tells of it.
    Ok(rows.into_iter().filter_map(|row| Some(row.into_recorded().ok()?.event)).collect())
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
                FROM unnest((SELECT $1::uuid[])) WITH ORDINALITY AS asked (workspace_id, position)
                LEFT JOIN LATERAL (
                    SELECT number, hash FROM keyward.audit_heads
                    WHERE workspace_id = asked.workspace_id
                    OFFSET 0
                ) AS head ON true
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
    let Some(first) = after.map_or(Some(0), |it| it.as_uuid().as_u128().checked_add(1)) else {
        return Ok(Vec::new());
    };
    let first = Uuid::from_u128(first);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let found = connections
        .run(Repeat::Always, |connection| {
            let query = sqlx::query_scalar!(
                r#"WITH RECURSIVE found AS (
                    (SELECT workspace_id FROM keyward.audit_events
                    WHERE workspace_id >= $1
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
                first,
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
            LEFT JOIN LATERAL (
                SELECT number FROM keyward.audit_heads
                WHERE workspace_id = given.workspace_id
                OFFSET 0
            ) AS head ON true
            WHERE given.first <> coalesce(head.number, 0) + 1
               OR given.links <> given.last - given.first + 1
        ) AS "fit!""#,
        &columns.workspaces,
        &columns.numbers,
    );
    let fit = fit.fetch_one(&mut *transaction).await?;
    let linked = sqlx::query!(
        "UPDATE keyward.audit_events AS event SET number = given.number, hash = given.hash
        FROM unnest((SELECT $1::uuid[]), (SELECT $2::timestamptz[]), (SELECT $3::uuid[]),
                    (SELECT $4::bigint[]), (SELECT $5::bytea[]))
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
                let linked = events
                    .iter()
                    .filter_map(|it| it.link.map(|link| NewLink { event: it.event.clone(), link }));
                let linked: Vec<NewLink> = linked.collect();
                raise_heads(&mut transaction, &LinkColumns::of(&linked)).await?;
                transaction.commit().await
            })
        })
        .await
}
