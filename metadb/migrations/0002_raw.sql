-- The raw backup of a stream has one writer. epoch grows with every session of a writer, and what an
-- older one still sends changes nothing.
CREATE TABLE raw_writers (
    stream     TEXT PRIMARY KEY,
    epoch      BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

-- How far the backup of a shard is, moved only together with the objects that hold the records.
-- The rows of raw_objects cover first_offset to next_offset without a hole; what was before
-- first_offset is past its lifecycle. The counters are cumulative.
CREATE TABLE raw_progress (
    stream          TEXT NOT NULL,
    shard           INTEGER NOT NULL,
    first_offset    BIGINT NOT NULL,
    next_offset     BIGINT NOT NULL,
    next_seq        BIGINT NOT NULL,
    records         BIGINT NOT NULL,
    records_expired BIGINT NOT NULL,
    records_damaged BIGINT NOT NULL,
    updated_at      BIGINT NOT NULL,
    PRIMARY KEY (stream, shard)
);

-- A run of offsets of one shard: an object (form ndjson, frames or opaque), or what the stream no
-- longer had when the backup came to it (form expired or damaged, without a key).
CREATE TABLE raw_objects (
    stream        TEXT NOT NULL,
    shard         INTEGER NOT NULL,
    first_offset  BIGINT NOT NULL,
    next_offset   BIGINT NOT NULL,
    form          TEXT NOT NULL,
    object_key    TEXT NOT NULL,
    records       BIGINT NOT NULL,
    bytes         BIGINT NOT NULL,
    raw_bytes     BIGINT NOT NULL,
    first_arrival BIGINT NOT NULL,
    last_arrival  BIGINT NOT NULL,
    created_at    BIGINT NOT NULL,
    PRIMARY KEY (stream, shard, first_offset)
);

-- Objects that may exist and that no row of raw_objects names: on their way in, or on their way out
-- (I4). They are deleted when the next session of a writer begins.
CREATE TABLE raw_unnamed (
    stream     TEXT NOT NULL,
    object_key TEXT NOT NULL,
    since      BIGINT NOT NULL,
    PRIMARY KEY (stream, object_key)
);
