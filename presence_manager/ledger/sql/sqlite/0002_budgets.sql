-- When more than `proven` may be tried again, and how long the last refused try put that off.
ALTER TABLE lanes ADD COLUMN probe_at REAL NOT NULL DEFAULT 0.0;
ALTER TABLE lanes ADD COLUMN probe_wait REAL NOT NULL DEFAULT 0.0;

-- The slots of a lane's budget that each process has in use, as "until:count" words.
CREATE TABLE uses (
    lane INTEGER NOT NULL,
    owner TEXT NOT NULL,
    uses TEXT NOT NULL,
    PRIMARY KEY (lane, owner)
) WITHOUT ROWID;

-- When Graph itself ends the session of an outcome that is not final, at the latest.
ALTER TABLE outcomes ADD COLUMN lapses_at REAL;
