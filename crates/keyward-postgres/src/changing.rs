//! Statements that change. What every change must meet (the seal, the epoch, durable commits) is in
//! the triggers of the schema, so that no statement can forget it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use keyward_core::clock::Timestamp;
use keyward_core::id::{KeyId, WorkspaceId};
use keyward_core::key::ApiKey;
use keyward_core::store::{Imported, StoreError, StoredKey, Unique};
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use crate::connections::{Connections, Repeat};
use crate::lane::all_failed;
use crate::row::{Columns, Row, column_time};

/// Adds records, each of which is a call of its own: one that is refused does not harm the others.
pub async fn create(
    connections: &Connections,
    records: Vec<StoredKey>,
) -> Vec<Result<(), StoreError>> {
    match insert(connections, &records).await {
        Ok(()) => records.iter().map(|_| Ok(())).collect(),
        Err(StoreError::Conflict(_) | StoreError::Corrupt(_)) if records.len() > 1 => {
            // The statement added nothing, and does not say because of which record.
            let mut outcomes = Vec::with_capacity(records.len());
            for record in &records {
                outcomes.push(insert(connections, std::slice::from_ref(record)).await);
            }
            outcomes
        }
        Err(error) => all_failed(records.len(), &error),
    }
}

async fn insert(connections: &Connections, records: &[StoredKey]) -> Result<(), StoreError> {
    let columns: Columns = records.iter().collect();
    connections
        .run(Repeat::IfNothingWasDone, |connection| {
            let query = sqlx::query!(
                "INSERT INTO keyward.api_keys (id, workspace_id, digest, name, key_prefix, status,
                                               created_by, created_at, updated_at, scopes)
                SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bytea[], $4::text[], $5::text[],
                                     $6::text[], $7::uuid[], $8::timestamptz[],
                                     $9::timestamptz[], $10::text[])",
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
            );
            Box::pin(async move { query.execute(connection).await.map(drop) })
        })
        .await
}

/// A revocation that is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Revocation {
    pub workspace: WorkspaceId,
    pub id: KeyId,
    pub at: Timestamp,
}

/// Revokes the keys that are asked for and active, in one step, and returns each as it is then.
pub async fn revoke(
    connections: &Connections,
    asked: Vec<Revocation>,
) -> Vec<Result<Option<ApiKey>, StoreError>> {
    let revoked = match revoke_together(connections, &asked).await {
        Ok(revoked) => revoked,
        Err(error) => return all_failed(asked.len(), &error),
    };
    let key_of =
        |it: &Revocation| revoked.get(&it.id).filter(|key| key.workspace_id == it.workspace);
    asked.iter().map(|it| Ok(key_of(it).cloned())).collect()
}

async fn revoke_together(
    connections: &Connections,
    asked: &[Revocation],
) -> Result<HashMap<KeyId, ApiKey>, StoreError> {
    let workspaces: Vec<Uuid> = asked.iter().map(|it| it.workspace.as_uuid()).collect();
    let ids: Vec<Uuid> = asked.iter().map(|it| it.id.as_uuid()).collect();
    let times: Vec<_> = asked.iter().map(|it| column_time(it.at)).collect();
    // That the ids are named twice keeps the planner from reading the whole table for the join, which
    // it does for as long as it takes the table to be small.
    let changed = connections
        .run(Repeat::IfNothingWasDone, |connection| {
            let query = sqlx::query_as!(
                Row,
                "UPDATE keyward.api_keys AS key
                SET status = 'revoked', updated_at = greatest(key.updated_at, asked.at)
                FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) AS asked (workspace, id, at)
                WHERE key.id = ANY($2) AND key.id = asked.id
                  AND key.workspace_id = asked.workspace AND key.status = 'active'
                RETURNING key.id, workspace_id, digest, name, key_prefix, status, created_by,
                          created_at, updated_at, scopes",
                &workspaces,
                &ids,
                &times,
            );
            Box::pin(query.fetch_all(connection))
        })
        .await?;
    let known: HashSet<Uuid> = changed.iter().map(|row| row.id).collect();
    let others: Vec<Uuid> = ids.iter().filter(|id| !known.contains(id)).copied().collect();
    let before = if others.is_empty() { Vec::new() } else { revoked(connections, &others).await? };
    let rows = changed.into_iter().chain(before);
    rows.map(|row| row.into_stored().map(|stored| (stored.key.id, stored.key))).collect()
}

/// Those of `ids` that are revoked. (One that was made a moment ago is active, and was not there when
/// its revocation was tried.)
async fn revoked(connections: &Connections, ids: &[Uuid]) -> Result<Vec<Row>, StoreError> {
    connections
        .run(Repeat::Always, |connection| {
            let query = sqlx::query_as!(
                Row,
                "SELECT id, workspace_id, digest, name, key_prefix, status, created_by,
                        created_at, updated_at, scopes
                FROM keyward.api_keys
                WHERE id = ANY($1) AND status = 'revoked'",
                ids,
            );
            Box::pin(query.fetch_all(connection))
        })
        .await
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
    let added = insert_new(&mut transaction, records).await?;
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
                // Nothing is committed: the transaction ends with this value.
                _ => return Ok(Err(Unique::Id)),
            }
        }
        imported.revoked = changed.len() as u64;
        revoke_as_given(&mut transaction, &changed).await?;
    }
    transaction.commit().await?;
    Ok(Ok(imported))
}

/// Adds those records whose ids are not there yet, and returns these ids.
async fn insert_new(
    connection: &mut PgConnection,
    records: &[StoredKey],
) -> Result<HashSet<Uuid>, sqlx::Error> {
    let columns: Columns = records.iter().collect();
    let added = sqlx::query_scalar!(
        "INSERT INTO keyward.api_keys (id, workspace_id, digest, name, key_prefix, status,
                                       created_by, created_at, updated_at, scopes)
        SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bytea[], $4::text[], $5::text[],
                             $6::text[], $7::uuid[], $8::timestamptz[], $9::timestamptz[],
                             $10::text[])
        ON CONFLICT (id) DO NOTHING
        RETURNING id",
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
    );
    Ok(added.fetch_all(connection).await?.into_iter().collect())
}

/// The records with these ids, which nobody else changes until the transaction ends.
async fn lock(
    connection: &mut PgConnection,
    ids: Vec<Uuid>,
) -> Result<Vec<StoredKey>, sqlx::Error> {
    // The clock first, as in every change of a record.
    sqlx::query!("SELECT FROM keyward.change_clock FOR NO KEY UPDATE")
        .execute(&mut *connection)
        .await?;
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, workspace_id, digest, name, key_prefix, status, created_by, created_at,
                updated_at, scopes
        FROM keyward.api_keys
        WHERE id = ANY($1)
        ORDER BY id
        FOR NO KEY UPDATE",
        &ids,
    );
    let rows = rows.fetch_all(connection).await?;
    let stored = rows.into_iter().map(Row::into_stored);
    stored.collect::<Result<_, _>>().map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

async fn revoke_as_given(
    connection: &mut PgConnection,
    changed: &[StoredKey],
) -> Result<(), sqlx::Error> {
    if changed.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = changed.iter().map(|it| it.key.id.as_uuid()).collect();
    let times: Vec<_> = changed.iter().map(|it| column_time(it.key.updated_at)).collect();
    let query = sqlx::query!(
        "UPDATE keyward.api_keys AS key
        SET status = 'revoked', updated_at = given.at
        FROM unnest($1::uuid[], $2::timestamptz[]) AS given (id, at)
        WHERE key.id = ANY($1) AND key.id = given.id",
        &ids,
        &times,
    );
    query.execute(connection).await.map(drop)
}

/// Seals the database, or unseals it.
pub async fn seal(connections: &Connections, sealed: bool) -> Result<(), StoreError> {
    connections
        .run(Repeat::Always, |connection| {
            Box::pin(async move {
                let mut transaction = connection.begin().await?;
                // Waits for the changes that are under way; those that come later wait for us, and
                // see the seal.
                sqlx::query!("LOCK TABLE keyward.api_keys IN SHARE MODE")
                    .execute(&mut *transaction)
                    .await?;
                sqlx::query!("SET LOCAL synchronous_commit = on")
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
