-- The queries of the SQLite ledger, each under its name.

-- name: first_read
SELECT 1 FROM lanes LIMIT 1

-- name: lane
SELECT id FROM lanes WHERE origin = ? AND app = ? AND tenant = ?

-- name: add_lane
INSERT INTO lanes (origin, app, tenant) VALUES (?, ?, ?)

-- name: lanes
SELECT tenant FROM lanes WHERE origin = ? AND app = ? ORDER BY tenant

-- name: budget
SELECT proven, closed_until, probe_at, probe_wait, closed_at FROM lanes WHERE id = ?

-- name: save_budget
UPDATE lanes SET proven = ?, closed_until = ?, probe_at = ?, probe_wait = ?, closed_at = ?
WHERE id = ?

-- name: uses
SELECT owner, uses FROM uses WHERE lane = ?

-- name: save_uses
INSERT INTO uses (lane, owner, uses) VALUES (?, ?, ?)
ON CONFLICT (lane, owner) DO UPDATE SET uses = excluded.uses

-- name: end_uses
DELETE FROM uses WHERE lane = ? AND owner = ?

-- name: get
SELECT version, owner, clock, skew, known, pair, due, may_live_until,
       verb, attempt_owner, number, send_by, wish, attempt_pair, lease,
       sets_settle, clears_settle, doubt, answer, attempts, sweeps, holds
FROM sessions WHERE lane = ? AND user = ?

-- name: holds
SELECT name, owner, pair, lease, made_at, until
FROM holds WHERE lane = ? AND user = ? ORDER BY position

-- name: holds_of
SELECT user, name, owner, pair, lease, made_at, until
FROM holds WHERE lane = ? AND user IN (SELECT value FROM json_each(?))
ORDER BY user, position

-- name: insert
INSERT OR IGNORE INTO sessions (
    version, owner, clock, skew, known, pair, due, may_live_until,
    verb, attempt_owner, send_by, wish, attempt_pair, lease,
    sets_settle, clears_settle, doubt, answer, attempts, sweeps, holds, lane, user, number
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: update
UPDATE sessions SET
    version = ?, owner = ?, clock = ?, skew = ?, known = ?, pair = ?, due = ?, may_live_until = ?,
    verb = ?, attempt_owner = ?, number = ?, send_by = ?, wish = ?, attempt_pair = ?, lease = ?,
    sets_settle = ?, clears_settle = ?, doubt = ?, answer = ?, attempts = ?, sweeps = ?, holds = ?
WHERE lane = ? AND user = ? AND version = ?

-- name: delete
DELETE FROM sessions WHERE lane = ? AND user = ? AND version = ?

-- name: end_holds
DELETE FROM holds WHERE lane = ? AND user = ?

-- name: add_hold
INSERT INTO holds (lane, user, position, name, owner, pair, lease, made_at, until)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: add_outcome
INSERT INTO outcomes (
    sweep, lane, kind, final, at, attempts, status, code, message, owner, reason, lapses_at,
    user, request_id
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (sweep, lane, user) DO UPDATE SET
    kind = excluded.kind, final = excluded.final, at = excluded.at, attempts = excluded.attempts,
    status = excluded.status, code = excluded.code, message = excluded.message,
    request_id = excluded.request_id, owner = excluded.owner, reason = excluded.reason,
    lapses_at = excluded.lapses_at
WHERE final = 0

-- name: page
SELECT l.id, l.tenant, s.user,
       version, s.owner, clock, skew, known, pair, due, may_live_until,
       verb, attempt_owner, number, send_by, wish, attempt_pair, lease,
       sets_settle, clears_settle, doubt, answer, attempts, sweeps, holds
FROM lanes AS l CROSS JOIN sessions AS s ON s.lane = l.id
WHERE l.origin = :origin AND l.app = :app
  AND l.tenant >= :after_tenant
  AND (:tenant IS NULL OR l.tenant = :tenant)
  AND (:sweep IS NULL OR instr(s.sweeps, :sweep))
  AND s.user > CASE WHEN l.tenant = :after_tenant THEN :after_user ELSE '' END
ORDER BY l.tenant, s.user LIMIT :limit

-- name: page_of_owner
SELECT l.id, l.tenant, s.user,
       version, s.owner, clock, skew, known, pair, due, may_live_until,
       verb, attempt_owner, number, send_by, wish, attempt_pair, lease,
       sets_settle, clears_settle, doubt, answer, attempts, sweeps, holds
FROM lanes AS l CROSS JOIN sessions AS s ON s.lane = l.id
WHERE l.origin = :origin AND l.app = :app
  AND l.tenant >= :after_tenant
  AND (:tenant IS NULL OR l.tenant = :tenant)
  AND (:sweep IS NULL OR instr(s.sweeps, :sweep))
  AND s.user > CASE WHEN l.tenant = :after_tenant THEN :after_user ELSE '' END
  AND (s.owner = :owner
       OR s.holds > 0 AND EXISTS (
           SELECT 1 FROM holds AS h
           WHERE h.lane = s.lane AND h.user = s.user AND h.owner = :owner))
ORDER BY l.tenant, s.user LIMIT :limit

-- name: page_of_orphans
SELECT l.id, l.tenant, s.user,
       version, s.owner, clock, skew, known, pair, due, may_live_until,
       verb, attempt_owner, number, send_by, wish, attempt_pair, lease,
       sets_settle, clears_settle, doubt, answer, attempts, sweeps, holds
FROM lanes AS l CROSS JOIN sessions AS s ON s.lane = l.id
WHERE l.origin = :origin AND l.app = :app
  AND l.tenant >= :after_tenant
  AND (:tenant IS NULL OR l.tenant = :tenant)
  AND (:sweep IS NULL OR instr(s.sweeps, :sweep))
  AND s.user > CASE WHEN l.tenant = :after_tenant THEN :after_user ELSE '' END
  AND (s.owner NOT IN (SELECT value FROM json_each(:alive))
       OR s.holds > 0 AND EXISTS (
           SELECT 1 FROM holds AS h
           WHERE h.lane = s.lane AND h.user = s.user
             AND h.owner <> '' AND h.owner NOT IN (SELECT value FROM json_each(:alive))))
ORDER BY l.tenant, s.user LIMIT :limit

-- name: search
SELECT l.id, l.tenant, s.user,
       version, s.owner, clock, skew, known, pair, due, may_live_until,
       verb, attempt_owner, number, send_by, wish, attempt_pair, lease,
       sets_settle, clears_settle, doubt, answer, attempts, sweeps, holds
FROM lanes AS l CROSS JOIN sessions AS s ON s.lane = l.id
WHERE l.origin = :origin AND l.app = :app
  AND l.tenant >= :after_tenant
  AND (:tenant IS NULL OR l.tenant = :tenant)
  AND (:known IS NULL OR known = :known)
  AND (:held IS NULL OR (holds > 0) = :held)
  AND s.user > CASE WHEN l.tenant = :after_tenant THEN :after_user ELSE '' END
  AND (substr(s.user, 1, length(:text)) = lower(:text)
       OR s.holds > 0 AND EXISTS (
           SELECT 1 FROM holds AS h
           WHERE h.lane = s.lane AND h.user = s.user AND instr(h.name, :text)))
ORDER BY l.tenant, s.user LIMIT :limit

-- name: foreign
SELECT count(*) FROM lanes AS l CROSS JOIN sessions AS s ON s.lane = l.id
WHERE NOT (l.origin = ? AND l.app = ?)

-- name: tally
SELECT l.tenant, known, pair, holds > 0, count(*), sum(due <= :due_by), min(version)
FROM lanes AS l CROSS JOIN sessions AS s ON s.lane = l.id
WHERE l.origin = :origin AND l.app = :app
GROUP BY l.tenant, known, pair, holds > 0
ORDER BY l.tenant, known, pair, holds > 0

-- name: outcomes
SELECT position, o.sweep, l.origin, l.app, l.tenant, o.user, kind, at, attempts, status,
       code, message, request_id, owner, reason, lapses_at
FROM outcomes AS o CROSS JOIN lanes AS l ON l.id = o.lane
WHERE position > :after
  AND l.origin = :origin AND l.app = :app
  AND (:kind IS NULL OR kind = :kind)
  AND (:tenant IS NULL OR l.tenant = :tenant)
  AND (:user IS NULL OR o.user = :user)
  AND (:since IS NULL OR at >= :since)
ORDER BY position LIMIT :limit

-- name: outcomes_of_sweep
SELECT position, o.sweep, l.origin, l.app, l.tenant, o.user, kind, at, attempts, status,
       code, message, request_id, owner, reason, lapses_at
FROM outcomes AS o INDEXED BY in_order CROSS JOIN lanes AS l ON l.id = o.lane
WHERE position > :after
  AND l.origin = :origin AND l.app = :app
  AND o.sweep = :sweep
  AND (:kind IS NULL OR kind = :kind)
  AND (:tenant IS NULL OR l.tenant = :tenant)
  AND (:user IS NULL OR o.user = :user)
  AND (:since IS NULL OR at >= :since)
ORDER BY position LIMIT :limit

-- name: told
SELECT user FROM outcomes
WHERE sweep = ? AND lane = ? AND user IN (SELECT value FROM json_each(?))

-- name: forget
DELETE FROM outcomes WHERE position IN (
    SELECT position FROM outcomes WHERE at < ? ORDER BY position LIMIT ?)

-- name: history
SELECT lane IN (SELECT id FROM lanes WHERE origin = :origin AND app = :app) AND at >= :since,
       CAST((at - :since) / :interval AS INTEGER), kind, count(*), min(position), max(at)
FROM (SELECT position, lane, kind, at FROM outcomes
      WHERE position < :before ORDER BY position DESC LIMIT :limit)
GROUP BY 1, 2, 3
