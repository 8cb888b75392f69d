-- What shares one budget and one token; `id` stands for it in the other tables.
CREATE TABLE lanes (
    id INTEGER PRIMARY KEY,
    origin TEXT NOT NULL,
    app TEXT NOT NULL,
    tenant TEXT NOT NULL,
    proven INTEGER NOT NULL DEFAULT 0,
    closed_until REAL NOT NULL DEFAULT 0.0,
    UNIQUE (origin, app, tenant)
);

-- One row for each session; the columns from verb to lease are its open attempt, NULL if none.
-- Times are seconds since the epoch, infinity is stored as the REAL that it is.
-- `holds` counts the rows of the session in the table of that name.
CREATE TABLE sessions (
    lane INTEGER NOT NULL,
    user TEXT NOT NULL,
    version INTEGER NOT NULL,
    owner TEXT NOT NULL,
    clock TEXT NOT NULL,
    known TEXT NOT NULL,
    pair TEXT,
    due REAL NOT NULL,
    may_live_until REAL NOT NULL,
    verb TEXT,
    attempt_owner TEXT,
    number INTEGER,
    send_by REAL,
    wish TEXT,
    attempt_pair TEXT,
    lease REAL,
    sets_settle REAL NOT NULL,
    clears_settle REAL NOT NULL,
    doubt INTEGER NOT NULL,
    answer TEXT,
    attempts INTEGER NOT NULL,
    sweeps TEXT NOT NULL,
    holds INTEGER NOT NULL,
    PRIMARY KEY (lane, user)
) WITHOUT ROWID;

-- The holds of a session, from the oldest to the newest.
CREATE TABLE holds (
    lane INTEGER NOT NULL,
    user TEXT NOT NULL,
    position INTEGER NOT NULL,
    name TEXT NOT NULL,
    owner TEXT NOT NULL,
    pair TEXT,
    lease REAL NOT NULL,
    made_at REAL NOT NULL,
    until REAL NOT NULL,
    PRIMARY KEY (lane, user, position)
) WITHOUT ROWID;

-- What became of a session in a sweep. Positions are never used twice: a reader may go on from one.
CREATE TABLE outcomes (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    sweep TEXT NOT NULL,
    lane INTEGER NOT NULL,
    user TEXT NOT NULL,
    kind TEXT NOT NULL,
    final INTEGER NOT NULL,
    at REAL NOT NULL,
    attempts INTEGER NOT NULL,
    status INTEGER,
    code TEXT NOT NULL,
    message TEXT NOT NULL,
    request_id TEXT NOT NULL,
    owner TEXT NOT NULL,
    reason TEXT NOT NULL
);

-- One outcome for each sweep and session, whatever fails.
CREATE UNIQUE INDEX one_outcome ON outcomes (sweep, lane, user);

-- A sweep of millions is read page by page.
CREATE INDEX in_order ON outcomes (sweep, position);
