//! Statements that add records: new ones, and those of another store.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use keyward_core::store::{Added, Addition, Imported, Once, StoreError, StoredKey, Unique};
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use crate::changing::{durable, lock, update};
use crate::connections::{Connections, Repeat};
use crate::events::EventColumns;
use crate::lane::all_failed;
use crate::reading;
use crate::row::{Columns, column_time};

/// Adds records, each of which is a call of its own: one that is refused does not harm the others.
pub async fn create(
    connections: &Connections,
    additions: Vec<Addition>,
) -> Vec<Result<Added, StoreError>> {
    match insert(connections, &additions).await {
        Ok(mut added) => {
            let outcome = |it: &Addition| {
                let taken = !added.remove(&it.stored.key.id.as_uuid());
                if taken { Err(StoreError::Conflict(Unique::Id)) } else { Ok(Added::New) }
            };
            additions.iter().map(outcome).collect()
        }
        Err(StoreError::Conflict(_) | StoreError::Corrupt(_)) if additions.len() > 1 => {
            // The statement added nothing, and does not say because of which record.
            let mut outcomes = Vec::with_capacity(additions.len());
            for addition in &additions {
                let alone = insert(connections, std::slice::from_ref(addition)).await;
                outcomes.push(alone.and_then(|added| {
                    let taken = added.is_empty();
                    if taken { Err(StoreError::Conflict(Unique::Id)) } else { Ok(Added::New) }
                }));
            }
            outcomes
        }
        Err(error) => all_failed(additions.len(), &error),
    }
}

async fn insert(
    connections: &Connections,
    additions: &[Addition],
) -> Result<HashSet<Uuid>, StoreError> {
    let columns = Arc::new(columns(additions));
    connections
        .run(Repeat::IfNothingWasDone, |connection| {
            let columns = Arc::clone(&columns);
            Box::pin(async move { insert_on(connection, &columns.0, &columns.1).await })
        })
        .await
}

fn columns(additions: &[Addition]) -> (Columns, EventColumns) {
    let records = additions.iter().map(|it| &it.stored).collect();
    (records, additions.iter().map(|it| it.trace.of_creation(&it.stored.key)).collect())
}

/// Adds those records whose ids are not taken, of several with one id the first, and returns these
/// ids; and those events that are not of records that were to be added and were not.
pub async fn insert_on(
    connection: &mut PgConnection,
    columns: &Columns,
    events: &EventColumns,
) -> Result<HashSet<Uuid>, sqlx::Error> {
    let added = sqlx::query_scalar!(
        r#"WITH added AS (
        INSERT INTO keyward.api_keys (id, workspace_id, digest, name, key_prefix, status,
                                       created_by, created_at, updated_at, scopes, description,
                                       metadata, expires_at, rotated_from, rotated_to, revoked_at,
                                       revoked_by, revoked_reason)
        SELECT id, workspace_id, digest, name, key_prefix, status, created_by, created_at,
               updated_at, scopes, description, metadata::jsonb, expires_at, rotated_from,
               rotated_to, revoked_at, revoked_by, revoked_reason
        FROM unnest($1::uuid[], $2::uuid[], $3::bytea[], $4::text[], $5::text[], $6::text[],
                    $7::uuid[], $8::timestamptz[], $9::timestamptz[], $10::text[], $11::text[],
                    $12::text[], $13::timestamptz[], $14::uuid[], $15::uuid[],
                    $16::timestamptz[], $17::uuid[], $18::text[])
            AS given (id, workspace_id, digest, name, key_prefix, status, created_by, created_at,
                      updated_at, scopes, description, metadata, expires_at, rotated_from,
                      rotated_to, revoked_at, revoked_by, revoked_reason)
        ON CONFLICT ON CONSTRAINT api_keys_id_key DO NOTHING
        RETURNING id
        ), noted AS (
        INSERT INTO keyward.audit_events (id, workspace_id, created_at, key_id, action, detail,
                                          account_id, credential_id, address, user_agent,
                                          request_id, tag, number, hash)
        SELECT id, workspace_id, created_at, key_id, action, detail, account_id, credential_id,
               address, user_agent, request_id, tag, number, hash
        FROM unnest($19::uuid[], $20::uuid[], $21::timestamptz[], $22::uuid[], $23::text[],
                    $24::text[], $25::uuid[], $26::uuid[], $27::text[], $28::text[], $29::text[],
                    $30::bytea[], $31::bigint[], $32::bytea[])
            AS event (id, workspace_id, created_at, key_id, action, detail, account_id,
                      credential_id, address, user_agent, request_id, tag, number, hash)
        WHERE key_id <> ALL ($1) OR key_id IN (SELECT id FROM added)
        -- One that came before it was sealed there.
        ON CONFLICT (workspace_id, created_at, id) DO UPDATE
        SET number = excluded.number, hash = excluded.hash
        WHERE audit_events.number IS NULL AND excluded.number IS NOT NULL
          AND audit_events.tag = excluded.tag
        )
        SELECT id AS "id!" FROM added"#,
        &columns.ids,
        &columns.workspaces,
        &columns.digests,
        &columns.names,
        &columns.prefixes,
        &columns.statuses,
        &columns.creators,
        &columns.created,
        &columns.updated,
        &columns.scopes as &[Option<String>],
        &columns.descriptions as &[Option<String>],
        &columns.metadata as &[Option<String>],
        &columns.expiries as &[Option<DateTime<Utc>>],
        &columns.rotated_from as &[Option<Uuid>],
        &columns.rotated_to as &[Option<Uuid>],
        &columns.revoked_at as &[Option<DateTime<Utc>>],
        &columns.revoked_by as &[Option<Uuid>],
        &columns.reasons as &[Option<String>],
        &events.ids,
        &events.workspaces,
        &events.times,
        &events.keys,
        &events.actions,
        &events.details as &[Option<String>],
        &events.accounts as &[Option<Uuid>],
        &events.credentials as &[Option<Uuid>],
        &events.addresses as &[Option<String>],
        &events.agents as &[Option<String>],
        &events.requests,
        &events.tags as &[Option<Vec<u8>>],
        &events.numbers as &[Option<i64>],
        &events.hashes as &[Option<Vec<u8>>],
    );
    Ok(added.fetch_all(connection).await?.into_iter().collect())
}

/// Adds a record that is to be added once, however often that is asked.
pub async fn add_once(
    connections: &Connections,
    addition: Addition,
    once: Once,
) -> Result<Added, StoreError> {
    // The name of a request has the workspace in it, so what it made is there.
    let workspace = addition.stored.key.workspace_id;
    let addition = Arc::new(addition);
    let outcome = connections
        .run(Repeat::IfNothingWasDone, |connection| {
            let addition = Arc::clone(&addition);
            Box::pin(async move { add_once_on(connection, &addition, &once).await })
        })
        .await?;
    match outcome {
        Outcome::Added => Ok(Added::New),
        Outcome::Taken => Err(StoreError::Conflict(Unique::Id)),
        Outcome::Known(content, _) if content != once.content => Ok(Added::Other),
        Outcome::Known(_, id) => {
            let key = reading::get(connections, workspace, id.into()).await?;
            let gone = || StoreError::Corrupt("what a request has made is not there".into());
            Ok(Added::Before(Box::new(key.ok_or_else(gone)?.key)))
        }
    }
}

/// What came of it.
enum Outcome {
    Added,
    /// The id of the record.
    Taken,
    /// What was in the request that had the name before, and what it made.
    Known(Vec<u8>, Uuid),
}

/// Of two requests that race, the second waits here for the first to be committed.
async fn add_once_on(
    connection: &mut PgConnection,
    addition: &Addition,
    once: &Once,
) -> Result<Outcome, sqlx::Error> {
    let mut transaction = durable(connection).await?;
    let (key, since) = (&addition.stored.key, column_time(once.since));
    let named = sqlx::query!(
        "INSERT INTO keyward.requests AS known (name, content, key_id, created_at)
        VALUES ($1, $2, $3, $4)
        ON CONFLICT (name) DO UPDATE SET content = excluded.content, key_id = excluded.key_id,
                                         created_at = excluded.created_at
        WHERE known.created_at < $5",
        &once.name,
        &once.content,
        key.id.as_uuid(),
        column_time(key.created_at),
        since,
    );
    if named.execute(&mut *transaction).await?.rows_affected() == 0 {
        let known = sqlx::query!(
            "SELECT content, key_id FROM keyward.requests WHERE name = $1",
            &once.name,
        );
        let known = known.fetch_one(&mut *transaction).await?;
        transaction.rollback().await?;
        return Ok(Outcome::Known(known.content, known.key_id));
    }
    let (records, events) = columns(std::slice::from_ref(addition));
    if insert_on(&mut transaction, &records, &events).await?.is_empty() {
        transaction.rollback().await?;
        return Ok(Outcome::Taken);
    }
    // A few more than one, so that those that are over do not gather.
    sqlx::query!(
        "DELETE FROM keyward.requests
        WHERE name IN (
            SELECT name FROM keyward.requests WHERE created_at < $1
            ORDER BY created_at
            LIMIT 4
            FOR UPDATE SKIP LOCKED
        )",
        since,
    )
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(Outcome::Added)
}

/// Adds records of another store, all or none.
pub async fn import(
    connections: &Connections,
    records: &Arc<[StoredKey]>,
) -> Result<Imported, StoreError> {
    let outcome = connections
        .run(Repeat::IfNothingWasDone, |connection| {
            let records = Arc::clone(records);
            Box::pin(async move { import_on(connection, &records).await })
        })
        .await?;
    outcome.map_err(StoreError::Conflict)
}

async fn import_on(
    connection: &mut PgConnection,
    records: &[StoredKey],
) -> Result<Result<Imported, Unique>, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    let added = records.iter().collect();
    let added = insert_on(&mut transaction, &added, &EventColumns::default()).await?;
    let mut imported = Imported { added: added.len() as u64, ..Imported::default() };
    let present = records.iter().filter(|it| !added.contains(&it.key.id.as_uuid()));
    let present: HashMap<Uuid, &StoredKey> = present.map(|it| (it.key.id.as_uuid(), it)).collect();
    if !present.is_empty() {
        let mut changed = Vec::new();
        for mut stored in lock(&mut transaction, present.keys().copied().collect()).await? {
            let Some(given) = present.get(&stored.key.id.as_uuid()) else { continue };
            match stored.key.absorb(&given.key) {
                Ok(true) if stored.digest == given.digest => changed.push(stored),
                Ok(false) if stored.digest == given.digest => imported.unchanged += 1,
                _ => {
                    transaction.rollback().await?;
                    return Ok(Err(Unique::Id));
                }
            }
        }
        imported.changed = changed.len() as u64;
        update(&mut transaction, changed.iter()).await?;
    }
    transaction.commit().await?;
    Ok(Ok(imported))
}
