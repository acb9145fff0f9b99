-- When keys were last used. A use is no change of a key: no epoch, no trigger, and a table of its own, so
-- that writing one touches neither a record nor the vacuuming of those. The row whose ids are zero is no
-- key's: it has the last moment at which keys were verified without their uses being noted.
CREATE TABLE keyward.key_uses (
    workspace_id uuid        NOT NULL,
    key_id       uuid        NOT NULL,
    last_used_at timestamptz NOT NULL,
    -- A page of a list has its uses beside each other, as ids ascend with time.
    CONSTRAINT key_uses_key PRIMARY KEY (workspace_id, key_id),
    -- What a person with psql might type and no node could read.
    CONSTRAINT key_uses_last_used_at_check
        CHECK (last_used_at >= '0001-01-01' AND last_used_at < '10000-01-01')
)
-- Room on each page for the next versions of its rows, which then need no new index entries.
WITH (fillfactor = 50);
