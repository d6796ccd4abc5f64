CREATE TABLE links_jobs (
    -- The name inside the tables.
    number INTEGER PRIMARY KEY,
    -- The name outside, 16 bytes.
    id BLOB NOT NULL UNIQUE,
    version INTEGER NOT NULL,
    target_domain TEXT NOT NULL,
    -- Start pages, a JSON array.
    starts TEXT NOT NULL,
    options TEXT NOT NULL,
    -- Hosts whose pages are crawled, a JSON array: those of the start pages, and those that they redirect to.
    hosts TEXT NOT NULL DEFAULT '[]',
    status TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    scheduled_for INTEGER,
    every_ms INTEGER,
    started_at INTEGER,
    completed_at INTEGER,
    total_links INTEGER NOT NULL DEFAULT 0,
    broken_count INTEGER NOT NULL DEFAULT 0,
    pages INTEGER NOT NULL DEFAULT 0,
    targets INTEGER NOT NULL DEFAULT 0,
    pending INTEGER NOT NULL DEFAULT 0,
    skipped INTEGER NOT NULL DEFAULT 0,
    -- Pages that are crawled or will be.
    planned INTEGER NOT NULL DEFAULT 0,
    previous INTEGER,
    failure TEXT
) STRICT;
CREATE INDEX links_jobs_by_status ON links_jobs (status, scheduled_for, number);
CREATE INDEX links_jobs_by_starts ON links_jobs (starts, status, number);

-- Jobs that were deleted, as long as there are rows of theirs in other tables.
CREATE TABLE links_deleted (
    job INTEGER PRIMARY KEY
) STRICT;

-- What is to be checked once, however many links and redirects lead there.
CREATE TABLE links_targets (
    id INTEGER PRIMARY KEY,
    job INTEGER NOT NULL,
    -- The same for the same target; see holdfast_web::urls::key.
    key TEXT NOT NULL,
    url TEXT NOT NULL,
    -- Links from a start page to here.
    depth INTEGER NOT NULL,
    -- Whether its links are wanted.
    crawled INTEGER NOT NULL,
    -- The target that is the page where it was found first; NULL for start pages and where those redirect to.
    found_on INTEGER,
    -- Redirects from a target that a link leads to; 0: a link leads here.
    hops INTEGER NOT NULL,
    -- The target that it redirects to, whose verdict it waits for or has.
    next INTEGER,
    -- Its row of the outbox while it is to be asked.
    effect INTEGER,
    verdict TEXT,
    reason TEXT NOT NULL DEFAULT '',
    detail TEXT NOT NULL DEFAULT '',
    status INTEGER,
    final_url TEXT,
    -- A JSON array; empty: none.
    redirects TEXT NOT NULL DEFAULT '',
    attempts INTEGER NOT NULL DEFAULT 0,
    wait_ms INTEGER NOT NULL DEFAULT 0,
    head_ms INTEGER NOT NULL DEFAULT 0,
    total_ms INTEGER NOT NULL DEFAULT 0,
    checked_at INTEGER,
    -- Names that fragments can point to, postcard; NULL: not known, so every fragment is taken to be there.
    names BLOB,
    UNIQUE (job, key)
) STRICT;
CREATE INDEX links_targets_pending ON links_targets (job, id) WHERE verdict IS NULL;
CREATE INDEX links_targets_waiting ON links_targets (next) WHERE next IS NOT NULL AND verdict IS NULL;

CREATE TABLE links_links (
    id INTEGER PRIMARY KEY,
    job INTEGER NOT NULL,
    -- The target that is the page; NULL for start pages.
    source INTEGER,
    ordinal INTEGER NOT NULL,
    line INTEGER NOT NULL,
    col INTEGER NOT NULL,
    kind TEXT NOT NULL,
    element TEXT NOT NULL,
    text TEXT NOT NULL,
    raw TEXT NOT NULL,
    -- NULL for what cannot be checked.
    target INTEGER,
    -- The same for the same link in each job; twins on one page have the same.
    identity INTEGER NOT NULL,
    -- How this link writes its URL, where its target is known by another form of it.
    url TEXT,
    fragment TEXT,
    -- What became of it; NULL: not known yet.
    verdict TEXT,
    -- Why, where that is not what the target says.
    reason TEXT,
    -- Whether it counts as broken; NULL: not known yet.
    broken INTEGER
) STRICT;
CREATE INDEX links_links_by_target ON links_links (target, id);
CREATE INDEX links_links_by_job ON links_links (job, id);
CREATE INDEX links_links_by_verdict ON links_links (job, verdict, id) WHERE verdict IS NOT NULL;
CREATE INDEX links_links_broken ON links_links (job, id) WHERE broken = 1;
-- Those that do not work, or that nobody knows of: what runs are compared by.
CREATE INDEX links_links_by_identity ON links_links (job, broken, identity) WHERE verdict NOT IN ('alive', 'moved');

-- How many links of a job have which verdict; the rest have none yet.
CREATE TABLE links_verdicts (
    job INTEGER NOT NULL,
    verdict TEXT NOT NULL,
    links INTEGER NOT NULL,
    PRIMARY KEY (job, verdict)
) STRICT, WITHOUT ROWID;

-- How many targets of each host were taken.
CREATE TABLE links_hosts (
    job INTEGER NOT NULL,
    host TEXT NOT NULL,
    targets INTEGER NOT NULL,
    PRIMARY KEY (job, host)
) STRICT, WITHOUT ROWID;

-- Distinct dates under one path, so that calendars end.
CREATE TABLE links_calendars (
    job INTEGER NOT NULL,
    prefix TEXT NOT NULL,
    dates INTEGER NOT NULL,
    PRIMARY KEY (job, prefix)
) STRICT, WITHOUT ROWID;
