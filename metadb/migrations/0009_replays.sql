-- Replays of a pipeline's history. doc is JSON: what is asked for, and how far it is. state is running,
-- done, failed, canceling or canceled.
CREATE TABLE replays (
    id         TEXT PRIMARY KEY,
    pipeline   TEXT NOT NULL,
    state      TEXT NOT NULL,
    doc        $BLOB NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

-- What is built aside of a table, to take the place of a part of it in one commit. Files lie in the
-- table's folder and no metadata names them yet (I4); file is JSON. part says what of the history they
-- come from.
CREATE TABLE aside_files (
    aside      TEXT NOT NULL,
    table_name TEXT NOT NULL,
    path       TEXT NOT NULL,
    part       TEXT NOT NULL,
    schema_id  INTEGER NOT NULL,
    file       $BLOB NOT NULL,
    PRIMARY KEY (aside, path)
);

CREATE INDEX aside_files_table ON aside_files (table_name);

CREATE TABLE aside_progress (
    aside           TEXT NOT NULL,
    part            TEXT NOT NULL,
    stream          TEXT NOT NULL,
    shard           INTEGER NOT NULL,
    next_offset     BIGINT NOT NULL,
    next_seq        BIGINT NOT NULL,
    records_in      BIGINT NOT NULL,
    rows_out        BIGINT NOT NULL,
    records_failed  BIGINT NOT NULL,
    records_dropped BIGINT NOT NULL,
    PRIMARY KEY (aside, part, stream, shard)
);

CREATE TABLE aside_failed (
    aside         TEXT NOT NULL,
    pipeline      TEXT NOT NULL,
    stream        TEXT NOT NULL,
    shard         INTEGER NOT NULL,
    record_offset BIGINT NOT NULL,
    stage         TEXT NOT NULL,
    reason        TEXT NOT NULL,
    code          TEXT NOT NULL,
    arrival       BIGINT NOT NULL,
    failed_at     BIGINT NOT NULL,
    record        $BLOB NOT NULL,
    PRIMARY KEY (aside, stream, shard, record_offset)
);

CREATE TABLE aside_documents (
    aside TEXT NOT NULL,
    key   TEXT NOT NULL,
    value $BLOB NOT NULL,
    PRIMARY KEY (aside, key)
);
