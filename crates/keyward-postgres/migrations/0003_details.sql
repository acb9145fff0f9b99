-- What a key may have beyond the documented fields. All of it is null for a key that has nothing of it.

ALTER TABLE keyward.api_keys
    ADD COLUMN description    text,
    -- A flat object of texts.
    ADD COLUMN metadata       jsonb,
    -- Judged by the clock of this server.
    ADD COLUMN expires_at     timestamptz,
    ADD COLUMN rotated_from   uuid,
    ADD COLUMN rotated_to     uuid,
    -- Null also for what was revoked before there was this column, or by a person with psql.
    ADD COLUMN revoked_at     timestamptz,
    ADD COLUMN revoked_by     uuid,
    ADD COLUMN revoked_reason text,
    -- What a person with psql might type and no node could read. Not valid for what is there before,
    -- which has none of these, and need not be read through for that.
    ADD CONSTRAINT api_keys_expires_at_check
        CHECK (expires_at >= '0001-01-01' AND expires_at < '10000-01-01') NOT VALID,
    ADD CONSTRAINT api_keys_revoked_at_check
        CHECK (revoked_at >= '0001-01-01' AND revoked_at < '10000-01-01') NOT VALID,
    ADD CONSTRAINT api_keys_revocation_check
        CHECK (revoked_at IS NOT NULL OR (revoked_by IS NULL AND revoked_reason IS NULL)) NOT VALID;

-- A program that does not know that keys expire would accept them for ever.
UPDATE keyward.settings SET min_version = 3;
