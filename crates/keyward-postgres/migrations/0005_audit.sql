-- The audit trail, and requests that make something once.

-- One row for each thing that was done to a key, written in the transaction that did it.
CREATE TABLE keyward.audit_events (
    id            uuid        NOT NULL,
    workspace_id  uuid        NOT NULL,
    created_at    timestamptz NOT NULL,
    key_id        uuid        NOT NULL,
    action        text        NOT NULL,
    detail        text,
    -- Null where possession of the key was the proof.
    account_id    uuid,
    -- The API key that was the credential, if it was one.
    credential_id uuid,
    address       text,
    user_agent    text,
    request_id    text        NOT NULL,
    -- The signature; null where the node had no key to sign with.
    tag           bytea,
    -- The link in the chain of the workspace; null until the event is sealed.
    number        bigint,
    hash          bytea,
    CONSTRAINT audit_events_link_check CHECK ((number IS NULL) = (hash IS NULL)),
    CONSTRAINT audit_events_number_check CHECK (number > 0),
    -- What no node could read would keep all others from being sealed.
    CONSTRAINT audit_events_action_check
        CHECK (action IN ('created', 'renamed', 'changed', 'rotated', 'revoked')),
    CONSTRAINT audit_events_created_at_check
        CHECK (created_at >= '0001-01-01 00:00+00 BC' AND created_at < '10000-01-01 00:00+00'),
    CONSTRAINT audit_events_address_check CHECK (address IS NULL OR address::inet IS NOT NULL),
    CONSTRAINT audit_events_tag_check CHECK (octet_length(tag) = 32),
    CONSTRAINT audit_events_hash_check CHECK (octet_length(hash) = 32)
);

-- The order in which events are shown, and what tells one from another.
CREATE UNIQUE INDEX audit_events_list_key
    ON keyward.audit_events (workspace_id, created_at DESC, id);
CREATE UNIQUE INDEX audit_events_chain_key
    ON keyward.audit_events (workspace_id, number) WHERE number IS NOT NULL;
-- What waits for the sealer: as a rule nothing.
CREATE INDEX audit_events_unsealed_idx
    ON keyward.audit_events (created_at, id) WHERE number IS NULL AND tag IS NOT NULL;

-- The newest link of each workspace.
CREATE TABLE keyward.audit_heads (
    workspace_id uuid   PRIMARY KEY,
    number       bigint NOT NULL CHECK (number > 0),
    hash         bytea  NOT NULL CHECK (octet_length(hash) = 32)
)
WITH (fillfactor = 50);

-- Not against whoever owns the table and can drop this: against them there is the chain.
CREATE FUNCTION keyward.refuse_changed_events() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit events are neither changed nor removed'
        USING ERRCODE = 'feature_not_supported';
END $$;

CREATE TRIGGER audit_1_admit BEFORE INSERT OR UPDATE ON keyward.audit_events
    FOR EACH STATEMENT EXECUTE FUNCTION keyward.admit_change();
CREATE TRIGGER audit_2_update BEFORE UPDATE ON keyward.audit_events
    FOR EACH ROW WHEN (
        OLD.number IS NOT NULL OR
        (OLD.id, OLD.workspace_id, OLD.created_at, OLD.key_id, OLD.action, OLD.detail, OLD.account_id,
         OLD.credential_id, OLD.address, OLD.user_agent, OLD.request_id, OLD.tag)
        IS DISTINCT FROM
        (NEW.id, NEW.workspace_id, NEW.created_at, NEW.key_id, NEW.action, NEW.detail, NEW.account_id,
         NEW.credential_id, NEW.address, NEW.user_agent, NEW.request_id, NEW.tag)
    )
    EXECUTE FUNCTION keyward.refuse_changed_events();
CREATE TRIGGER audit_3_delete BEFORE DELETE ON keyward.audit_events
    FOR EACH ROW EXECUTE FUNCTION keyward.refuse_changed_events();
CREATE TRIGGER audit_4_truncate BEFORE TRUNCATE ON keyward.audit_events
    FOR EACH STATEMENT EXECUTE FUNCTION keyward.refuse_changed_events();

-- One row for each request that is to make one key however often it is sent, for a day.
CREATE TABLE keyward.requests (
    -- SHA-256 of who asked and of the name that they gave it.
    name       bytea       PRIMARY KEY,
    -- SHA-256 of what was in it.
    content    bytea       NOT NULL,
    key_id     uuid        NOT NULL,
    created_at timestamptz NOT NULL
);
-- Finds those that are over.
CREATE INDEX requests_created_at_idx ON keyward.requests (created_at);

-- What a person with psql might type for no metadata, and no node writes: it is null then. Not valid for
-- what is there before, which has none of it.
ALTER TABLE keyward.api_keys
    ADD CONSTRAINT api_keys_metadata_check
        CHECK (jsonb_typeof(metadata) = 'object' AND metadata <> '{}') NOT VALID;

-- A program that does not know of the trail would change keys without leaving one.
UPDATE keyward.settings SET min_version = 5;
