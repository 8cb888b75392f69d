-- When `closed_until` was written, by the same clock: what lies between is true on every clock.
ALTER TABLE lanes ADD COLUMN closed_at REAL NOT NULL DEFAULT 0.0;
