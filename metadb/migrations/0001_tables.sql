-- One row per Iceberg table: the pointer to its current metadata. version grows by one with every
-- move of the pointer and is what the compare-and-swap compares.
CREATE TABLE tables (
    name              TEXT PRIMARY KEY,
    uuid              TEXT NOT NULL,
    location          TEXT NOT NULL,
    metadata_location TEXT NOT NULL,
    version           BIGINT NOT NULL,
    created_at        BIGINT NOT NULL,
    updated_at        BIGINT NOT NULL
);

-- Where each table stands in each shard that feeds it, moved only together with the pointer (I2).
-- next_offset is the first offset not yet dealt with; the counters are cumulative.
CREATE TABLE progress (
    table_name      TEXT NOT NULL,
    stream          TEXT NOT NULL,
    shard           INTEGER NOT NULL,
    next_offset     BIGINT NOT NULL,
    next_seq        BIGINT NOT NULL,
    records_in      BIGINT NOT NULL,
    rows_out        BIGINT NOT NULL,
    records_failed  BIGINT NOT NULL,
    records_dropped BIGINT NOT NULL,
    records_expired BIGINT NOT NULL,
    updated_at      BIGINT NOT NULL,
    PRIMARY KEY (table_name, stream, shard)
);

-- Records that could not be transformed or converted, kept whole for replay.
CREATE TABLE failed_records (
    id            $SERIAL,
    pipeline      TEXT NOT NULL,
    table_name    TEXT NOT NULL,
    stream        TEXT NOT NULL,
    shard         INTEGER NOT NULL,
    record_offset BIGINT NOT NULL,
    stage         TEXT NOT NULL,
    reason        TEXT NOT NULL,
    code          TEXT NOT NULL,
    attempts      INTEGER NOT NULL,
    arrival       BIGINT NOT NULL,
    failed_at     BIGINT NOT NULL,
    record        $BLOB NOT NULL,
    UNIQUE (table_name, stream, shard, record_offset, stage)
);

CREATE INDEX failed_records_pipeline ON failed_records (pipeline, id);

-- Small documents that commit together with their table.
CREATE TABLE table_state (
    table_name TEXT NOT NULL,
    key        TEXT NOT NULL,
    value      $BLOB NOT NULL,
    PRIMARY KEY (table_name, key)
);

-- Files that committed metadata named once and the current snapshot no longer names (I4). A file
-- may go when no retained snapshot has a sequence number below removed_seq.
CREATE TABLE removed_files (
    table_uuid  TEXT NOT NULL,
    path        TEXT NOT NULL,
    removed_seq BIGINT NOT NULL,
    removed_at  BIGINT NOT NULL,
    PRIMARY KEY (table_uuid, path)
);

CREATE INDEX removed_files_seq ON removed_files (table_uuid, removed_seq);
