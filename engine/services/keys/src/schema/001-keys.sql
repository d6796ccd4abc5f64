-- API keys. Of a key's secret only the hash is kept.
CREATE TABLE api_keys (
    -- Never used again: pages of a list begin at one.
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    -- The part of the key that is no secret.
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    -- `sha256:` and hexadecimal digits.
    hash TEXT NOT NULL,
    -- Separated by single spaces, as in RFC 6749, §3.3.
    scopes TEXT NOT NULL,
    -- Times are nanoseconds since the epoch.
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER
) STRICT;
