-- What nodes need that remember keys: a history that always has a newest change, and windows that are
-- changed by one hand at a time.

-- Before the first change, so that the history of this database is told from that of another.
INSERT INTO keyward.key_changes (epoch, digest)
SELECT epoch, ''::bytea FROM keyward.change_clock
WHERE NOT EXISTS (SELECT FROM keyward.key_changes WHERE epoch >= change_clock.epoch);

ALTER TABLE keyward.change_clock
    -- Of the newest change of the windows: whoever finishes one looks whether it is still theirs.
    ADD COLUMN windows_nonce uuid NOT NULL DEFAULT gen_random_uuid(),
    -- A node that relies on a poll for longer than a revocation waits would accept what was revoked.
    ADD CONSTRAINT change_clock_windows_check CHECK (barrier_window_ms >= node_window_ms);

-- No window at first: nodes of the version before answer a revocation without waiting, and may be
-- running still. A database that is new gets its window from the node that made it.
UPDATE keyward.change_clock SET node_window_ms = 0, barrier_window_ms = 0;
ALTER TABLE keyward.change_clock
    ALTER COLUMN node_window_ms DROP DEFAULT,
    ALTER COLUMN barrier_window_ms DROP DEFAULT;
