-- One row per crawler. version grows by one with every crawl that changes anything, and is what the
-- compare-and-swap of two crawls at once compares.
CREATE TABLE crawlers (
    name       TEXT PRIMARY KEY,
    path       TEXT NOT NULL,
    version    BIGINT NOT NULL,
    crawled_at BIGINT NOT NULL,
    report     TEXT NOT NULL
);

-- Tables over files that something else writes. version grows by one with every change of the row,
-- of its schemas or of its files: readers keep what they have read until it moves.
CREATE TABLE external_tables (
    name           TEXT PRIMARY KEY,
    crawler        TEXT NOT NULL,
    location       TEXT NOT NULL,
    format         TEXT NOT NULL,
    why            TEXT NOT NULL,
    version        BIGINT NOT NULL,
    schema_version INTEGER NOT NULL,
    created_at     BIGINT NOT NULL,
    updated_at     BIGINT NOT NULL,
    missing_since  BIGINT NOT NULL
);

CREATE INDEX external_tables_crawler ON external_tables (crawler);

-- Every schema an external table has had, with the reason of the change.
CREATE TABLE external_schemas (
    table_name TEXT NOT NULL,
    version    INTEGER NOT NULL,
    columns    TEXT NOT NULL,
    reason     TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (table_name, version)
);

-- Format, dialect and columns, which many files share.
CREATE TABLE external_layouts (
    crawler  TEXT NOT NULL,
    id       INTEGER NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (crawler, id)
);

-- Every file a crawler has seen; table_name is empty for those it leaves out, and reason says why.
-- mtime is in nanoseconds, other times are in microseconds; rows_known is -1 when not known.
CREATE TABLE external_files (
    crawler        TEXT NOT NULL,
    path           TEXT NOT NULL,
    table_name     TEXT NOT NULL,
    layout         INTEGER NOT NULL,
    size           BIGINT NOT NULL,
    mtime          BIGINT NOT NULL,
    fingerprint    TEXT NOT NULL,
    rows_known     BIGINT NOT NULL,
    schema_version INTEGER NOT NULL,
    checked_at     BIGINT NOT NULL,
    missing_since  BIGINT NOT NULL,
    reason         TEXT NOT NULL,
    detail         TEXT NOT NULL,
    PRIMARY KEY (crawler, path)
);

CREATE INDEX external_files_table ON external_files (table_name, path)
