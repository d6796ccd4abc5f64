-- What every service's tables stand beside: how far the log is applied, who may act for a service, what is to be done
-- outside, what was asked twice, and who changed what.

CREATE TABLE applied (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    log_index INTEGER NOT NULL,
    -- Of the last command, nanoseconds since the epoch.
    time INTEGER NOT NULL
) STRICT;
INSERT INTO applied (one, log_index, time) VALUES (1, 0, 0);

CREATE TABLE leases (
    service TEXT PRIMARY KEY,
    -- An incarnation of a node; 0: nobody.
    holder INTEGER NOT NULL,
    -- Rises with every new holder: results of an earlier one are refused.
    epoch INTEGER NOT NULL,
    -- Rises with every renewal: who looks on can tell that the holder lives, without a clock in common.
    renewals INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE outbox (
    -- Never used again: a late result can only mean its own row.
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    service TEXT NOT NULL,
    -- Rows of one lane are performed a few at a time: those of one web host, say.
    lane TEXT NOT NULL,
    payload BLOB NOT NULL,
    attempts INTEGER NOT NULL,
    -- Milliseconds to wait before the next attempt, counted by whoever makes it.
    delay INTEGER NOT NULL,
    -- Why the last attempt did not do; empty before the first.
    reason TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX outbox_by_service ON outbox (service, id);
CREATE INDEX outbox_by_lane ON outbox (service, lane, id);

CREATE TABLE dead_letters (
    id INTEGER PRIMARY KEY,
    service TEXT NOT NULL,
    lane TEXT NOT NULL,
    payload BLOB NOT NULL,
    attempts INTEGER NOT NULL,
    reason TEXT NOT NULL,
    died INTEGER NOT NULL
) STRICT;
CREATE INDEX dead_letters_by_service ON dead_letters (service, id);

CREATE TABLE idempotency (
    actor TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint INTEGER NOT NULL,
    outcome BLOB NOT NULL,
    time INTEGER NOT NULL,
    PRIMARY KEY (actor, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_by_time ON idempotency (time);

CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    log_index INTEGER NOT NULL,
    time INTEGER NOT NULL,
    actor TEXT NOT NULL,
    service TEXT NOT NULL,
    operation TEXT NOT NULL,
    resource TEXT NOT NULL,
    outcome TEXT NOT NULL
) STRICT;
