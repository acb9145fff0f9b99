//! Statements that change. What every change must meet (the seal, the epoch, durable commits) is in
//! the triggers of the schema, so that no statement can forget it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use keyward_core::audit::Trace;
use keyward_core::change::{Change, Outcome};
use keyward_core::id::{KeyId, WorkspaceId};
use keyward_core::store::{Changed, StoreError, StoredKey, Unique};
use sqlx::{Connection as _, PgConnection, Postgres, Transaction};
use uuid::Uuid;

use crate::adding::insert_on;
use crate::connections::{Connections, Repeat};
use crate::lane::all_failed;
use crate::row::{Columns, Row};

/// Longest silence in a transaction that keeps others from changing anything, in milliseconds.
const SILENCE: &str = "2000";

/// A transaction whose changes are durable before anybody sees them, whatever the default of the
/// database or the role, and which does not keep others waiting where this node is stopped in it.
pub async fn durable(
    connection: &mut PgConnection,
) -> Result<Transaction<'_, Postgres>, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    sqlx::query!(
        "SELECT set_config('synchronous_commit', 'on', true) AS durable,
                set_config('idle_in_transaction_session_timeout', $1, true) AS silence",
        SILENCE,
    )
    .fetch_one(&mut *transaction)
    .await?;
    Ok(transaction)
}

/// A change that is asked for.
#[derive(Debug, Clone)]
pub struct Alteration {
    pub workspace: WorkspaceId,
    pub id: KeyId,
    pub change: Change,
    pub trace: Trace,
}

/// Makes the changes, one after the other, in one step. One that is refused does not harm the others.
pub async fn change(
    connections: &Connections,
    asked: Vec<Alteration>,
) -> Vec<Result<Option<Changed>, StoreError>> {
    let asked: Arc<[Alteration]> = asked.into();
    match change_together(connections, &asked).await {
        Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
        Err(StoreError::Conflict(_) | StoreError::Corrupt(_)) if asked.len() > 1 => {
            // Nothing was changed, and it is not said because of which.
            let mut outcomes = Vec::with_capacity(asked.len());
            for one in &*asked {
                let alone = change_together(connections, &[one.clone()].into()).await;
                outcomes.push(alone.map(|mut outcomes| outcomes.pop().flatten()));
            }
            outcomes
        }
        Err(error) => all_failed(asked.len(), &error),
    }
}

async fn change_together(
    connections: &Connections,
    asked: &Arc<[Alteration]>,
) -> Result<Vec<Option<Changed>>, StoreError> {
    let outcomes = connections
        .run(Repeat::IfNothingWasDone, |connection| {
            let asked = Arc::clone(asked);
            Box::pin(async move { change_on(connection, &asked).await })
        })
        .await?;
    outcomes.map_err(StoreError::Conflict)
}

async fn change_on(
    connection: &mut PgConnection,
    asked: &[Alteration],
) -> Result<Result<Vec<Option<Changed>>, Unique>, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    let ids: HashSet<Uuid> = asked.iter().map(|it| it.id.as_uuid()).collect();
    let records = lock(&mut transaction, ids.into_iter().collect()).await?;
    let mut records: HashMap<KeyId, StoredKey> =
        records.into_iter().map(|stored| (stored.key.id, stored)).collect();
    let mut outcomes = Vec::with_capacity(asked.len());
    let (mut altered, mut successors, mut events) = (HashSet::new(), Vec::new(), Vec::new());
    for one in asked {
        let stored = records.get_mut(&one.id).filter(|it| it.key.workspace_id == one.workspace);
        let Some(stored) = stored else {
            outcomes.push(None);
            continue;
        };
        let before = stored.key.clone();
        let outcome = one.change.apply(&mut stored.key);
        events.extend(one.trace.of_change(&before, &stored.key));
        if let Outcome::Succeeded(successor) = &outcome {
            successors.push(StoredKey::clone(successor));
        }
        if matches!(outcome, Outcome::Changed | Outcome::Succeeded(_)) {
            altered.insert(one.id);
        }
        let (key, digest) = (stored.key.clone(), stored.digest);
        outcomes.push(Some(Changed { key, digest, outcome }));
    }
    // Also where nothing is altered: a sealed database says so to every change.
    update(&mut transaction, records.values().filter(|it| altered.contains(&it.key.id))).await?;
    if !events.is_empty() {
        let (added, events) = (successors.iter().collect(), events.into_iter().collect());
        let added = insert_on(&mut transaction, &added, &events).await?;
        if added.len() < successors.len() {
            transaction.rollback().await?;
            return Ok(Err(Unique::Id));
        }
    }
    transaction.commit().await?;
    Ok(Ok(outcomes))
}

/// Writes what may change of records that are there. As an insertion that finds them: so each is found
/// by the index, while the planner would join an update of them with the whole table for as long as it
/// takes that to be small.
pub async fn update(
    connection: &mut PgConnection,
    records: impl Iterator<Item = &StoredKey>,
) -> Result<(), sqlx::Error> {
    let columns: Columns = records.collect();
    let query = sqlx::query!(
        "INSERT INTO keyward.api_keys (id, workspace_id, digest, name, key_prefix, status,
                                              created_by, created_at, updated_at, scopes,
                                              description, metadata, expires_at, rotated_from,
                                              rotated_to, revoked_at, revoked_by, revoked_reason)
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
        ON CONFLICT ON CONSTRAINT api_keys_id_key DO UPDATE
        SET name = excluded.name, status = excluded.status, updated_at = excluded.updated_at,
            scopes = excluded.scopes, description = excluded.description,
            metadata = excluded.metadata, expires_at = excluded.expires_at,
            rotated_to = excluded.rotated_to, revoked_at = excluded.revoked_at,
            revoked_by = excluded.revoked_by, revoked_reason = excluded.revoked_reason",
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
    );
    query.execute(connection).await.map(drop)
}

/// The records with these ids, which nobody else changes until the transaction ends.
pub async fn lock(
    connection: &mut PgConnection,
    mut ids: Vec<Uuid>,
) -> Result<Vec<StoredKey>, sqlx::Error> {
    // The clock first, as in every change of a record. A node that is stopped now, or cut off, would
    // keep all others from changing anything: so Postgres ends a transaction that is silent for long.
    sqlx::query!(
        "SELECT set_config('idle_in_transaction_session_timeout', $1, true)
        FROM keyward.change_clock
        FOR NO KEY UPDATE",
        SILENCE,
    )
    .fetch_optional(&mut *connection)
    .await?;
    // In one order, in which a person with psql may lock them too.
    ids.sort_unstable();
    // Probes, one for each id, for the reasons that `reading::find` has.
    let rows = sqlx::query_as!(
        Row,
        "SELECT key.*
        FROM unnest((SELECT $1::uuid[])) AS asked (id)
        CROSS JOIN LATERAL (
            SELECT id, workspace_id, digest, name, key_prefix, status, created_by, created_at,
                   updated_at, scopes, description, metadata::text, expires_at, rotated_from,
                   rotated_to, revoked_at, revoked_by, revoked_reason
            FROM keyward.api_keys
            WHERE id = asked.id
            OFFSET 0
            FOR NO KEY UPDATE
        ) AS key",
        &ids,
    );
    let rows = rows.fetch_all(connection).await?;
    let stored = rows.into_iter().map(Row::into_stored);
    stored.collect::<Result<_, _>>().map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

/// Seals the database, or unseals it.
pub async fn seal(connections: &Connections, sealed: bool) -> Result<(), StoreError> {
    connections
        .run(Repeat::Always, |connection| {
            Box::pin(async move {
                let mut transaction = durable(connection).await?;
                // Waits for the changes that are under way; those that come later wait for us, and
                // see the seal.
                sqlx::query!("LOCK TABLE keyward.api_keys, keyward.audit_events IN SHARE MODE")
                    .execute(&mut *transaction)
                    .await?;
                sqlx::query!("UPDATE keyward.settings SET sealed = $1", sealed)
                    .execute(&mut *transaction)
                    .await?;
                transaction.commit().await
            })
        })
        .await
}
