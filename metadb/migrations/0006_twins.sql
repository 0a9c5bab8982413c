-- One row per twin. version grows by one with every change of its values; its writers wait for the
-- lock on the row, so versions are in the order of commits.
CREATE TABLE twins (
    id      $SERIAL,
    name    TEXT NOT NULL UNIQUE,
    version BIGINT NOT NULL
);

-- The newest value of every metric. name is the component, a zero byte and the metric: bytes, because
-- both databases order those alike. content is everything but the time, as package twin packs it.
CREATE TABLE twin_values (
    twin       BIGINT NOT NULL,
    name       $BLOB NOT NULL,
    version    BIGINT NOT NULL,
    written_at BIGINT NOT NULL,
    content    $BLOB NOT NULL,
    PRIMARY KEY (twin, name)
);

-- By it a node finds what others have written. An SQLite file has one node only.
$POSTGRES CREATE INDEX twin_values_version ON twin_values (twin, version);

-- Where each writer of a twin stands in each shard it reads, moved only together with the values (I2).
CREATE TABLE twin_progress (
    twin        BIGINT NOT NULL,
    writer      TEXT NOT NULL,
    stream      TEXT NOT NULL,
    shard       INTEGER NOT NULL,
    next_offset BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    PRIMARY KEY (twin, writer, stream, shard)
);
