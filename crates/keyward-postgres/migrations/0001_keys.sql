-- The schema `keyward`: keys, what changed of them, and what holds for the deployment.
--
-- Everything is named with its schema, because a search path is state of a session and there is none
-- behind PgBouncer in transaction mode.

-- One row: what holds for the whole deployment.
CREATE TABLE keyward.settings (
    single      boolean PRIMARY KEY DEFAULT true CHECK (single),
    -- A program that knows only earlier migrations than this one must not use the database.
    min_version bigint  NOT NULL,
    -- While this is true the keys are being moved elsewhere, or were: nothing may change them.
    sealed      boolean NOT NULL DEFAULT false
);
INSERT INTO keyward.settings (min_version) VALUES (1);

CREATE TABLE keyward.api_keys (
    id           uuid        NOT NULL,
    workspace_id uuid        NOT NULL,
    -- SHA-256 of the key. The key itself is nowhere.
    digest       bytea       NOT NULL,
    name         text        NOT NULL,
    key_prefix   text        NOT NULL,
    status       text        NOT NULL,
    created_by   uuid        NOT NULL,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    -- Separated by spaces, as OAuth writes them. Null where none were named at creation.
    scopes       text,
    CONSTRAINT api_keys_id_key PRIMARY KEY (id),
    CONSTRAINT api_keys_digest_key UNIQUE (digest),
    CONSTRAINT api_keys_digest_check CHECK (octet_length(digest) = 32),
    CONSTRAINT api_keys_status_check CHECK (status IN ('active', 'revoked'))
)
-- Room on each page for the second version of a record: none of the columns that a revocation
-- changes is indexed, so that version needs no new index entries if it fits there.
WITH (fillfactor = 90);

-- The order of the list: a page is one stretch of this index, read from its beginning.
CREATE INDEX api_keys_list_idx ON keyward.api_keys (workspace_id, created_at DESC, id);

-- One row: the number of the newest change, and how long nodes may answer from memory.
CREATE TABLE keyward.change_clock (
    single            boolean PRIMARY KEY DEFAULT true CHECK (single),
    -- Taken under the lock of this row, and so in the order of commits. Never a sequence: its
    -- numbers become visible in any order, and a reader would pass over the late ones.
    epoch             bigint  NOT NULL DEFAULT 0,
    -- Milliseconds for which a node may rely on a poll, and those that a narrowing change waits
    -- for. They differ only while the window is being made smaller.
    node_window_ms    integer NOT NULL DEFAULT 250 CHECK (node_window_ms BETWEEN 0 AND 60000),
    barrier_window_ms integer NOT NULL DEFAULT 250 CHECK (barrier_window_ms BETWEEN 0 AND 60000)
)
WITH (fillfactor = 10);
INSERT INTO keyward.change_clock DEFAULT VALUES;

-- One row for each change of a record that was there before.
CREATE TABLE keyward.key_changes (
    epoch      bigint      PRIMARY KEY,
    -- Tells this change from another one with the same number, after a failover lost the first.
    nonce      uuid        NOT NULL DEFAULT gen_random_uuid(),
    digest     bytea       NOT NULL,
    -- Only for pruning.
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What every change of keys must meet, whoever makes it: a node, or a person with psql.
CREATE FUNCTION keyward.admit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- The statement holds its lock on the table already, and a sealer takes one that excludes it.
    -- A snapshot of its own for each statement then sees the seal.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'keys are changed only in READ COMMITTED transactions'
            USING ERRCODE = 'invalid_transaction_state';
    END IF;
    IF (SELECT sealed FROM keyward.settings) THEN
        RAISE EXCEPTION 'the keys are sealed: they are being moved to another storage, or were'
            USING ERRCODE = 'KW001';
    END IF;
    -- What is acknowledged is durable, whatever the default of the database or the role.
    IF current_setting('synchronous_commit') NOT IN ('on', 'remote_apply') THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    RETURN NULL;
END $$;

-- Locks are taken in one order: this row first, records after it.
CREATE FUNCTION keyward.lock_change_clock() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM keyward.change_clock FOR NO KEY UPDATE;
    RETURN NULL;
END $$;

CREATE FUNCTION keyward.refuse_unrevoking() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a revoked key stays revoked' USING ERRCODE = 'check_violation';
END $$;

CREATE FUNCTION keyward.refuse_truncating() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'TRUNCATE would take keys away without a trace: use DELETE'
        USING ERRCODE = 'feature_not_supported';
END $$;

-- Gives each of these digests the next epoch.
CREATE FUNCTION keyward.note_changes(digests bytea[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    newest bigint;
BEGIN
    IF cardinality(digests) = 0 THEN
        RETURN;
    END IF;
    UPDATE keyward.change_clock SET epoch = epoch + cardinality(digests) RETURNING epoch INTO newest;
    INSERT INTO keyward.key_changes (epoch, digest)
    SELECT newest - cardinality(digests) + position, digest
    FROM unnest(digests) WITH ORDINALITY AS changed (digest, position);
END $$;

-- Both digests of a record count where somebody changed even that.
CREATE FUNCTION keyward.note_updates() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM keyward.note_changes(ARRAY(
        SELECT digest FROM (
            (TABLE rows_before EXCEPT TABLE rows_after)
            UNION ALL
            (TABLE rows_after EXCEPT TABLE rows_before)
        ) AS changed
        GROUP BY digest
    ));
    RETURN NULL;
END $$;

CREATE FUNCTION keyward.note_deletes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM keyward.note_changes(ARRAY(SELECT digest FROM rows_before));
    RETURN NULL;
END $$;

-- Triggers of one kind fire in the order of their names.
CREATE TRIGGER change_1_admit BEFORE INSERT OR UPDATE OR DELETE ON keyward.api_keys
    FOR EACH STATEMENT EXECUTE FUNCTION keyward.admit_change();
-- A new record is in nobody's memory, so it takes no epoch and no lock.
CREATE TRIGGER change_2_lock BEFORE UPDATE OR DELETE ON keyward.api_keys
    FOR EACH STATEMENT EXECUTE FUNCTION keyward.lock_change_clock();
CREATE TRIGGER change_3_terminal BEFORE UPDATE ON keyward.api_keys
    FOR EACH ROW WHEN (OLD.status = 'revoked' AND NEW.status <> 'revoked')
    EXECUTE FUNCTION keyward.refuse_unrevoking();
CREATE TRIGGER change_4_note_updates AFTER UPDATE ON keyward.api_keys
    REFERENCING OLD TABLE AS rows_before NEW TABLE AS rows_after
    FOR EACH STATEMENT EXECUTE FUNCTION keyward.note_updates();
CREATE TRIGGER change_5_note_deletes AFTER DELETE ON keyward.api_keys
    REFERENCING OLD TABLE AS rows_before
    FOR EACH STATEMENT EXECUTE FUNCTION keyward.note_deletes();
CREATE TRIGGER change_6_truncate BEFORE TRUNCATE ON keyward.api_keys
    FOR EACH STATEMENT EXECUTE FUNCTION keyward.refuse_truncating();
