-- Records that a stream lost and that somebody knows of: offsets from first_offset to next_offset - 1.
CREATE TABLE accepted_losses (
    stream       TEXT NOT NULL,
    shard        INTEGER NOT NULL,
    first_offset BIGINT NOT NULL,
    next_offset  BIGINT NOT NULL,
    accepted_by  TEXT NOT NULL,
    accepted_at  BIGINT NOT NULL,
    reason       TEXT NOT NULL,
    PRIMARY KEY (stream, shard, first_offset, next_offset)
);
