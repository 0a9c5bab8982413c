-- The objects of the zone cleaned. state is announced (it may exist, and its records are not committed),
-- live, or removed (past its lifecycle, to be deleted). An object becomes live in the transaction that
-- moves the progress of its delivery over its records; what no row names is nobody's (I4).
CREATE TABLE cleaned_objects (
    name          TEXT NOT NULL,
    object_key    TEXT NOT NULL,
    state         TEXT NOT NULL,
    stream        TEXT NOT NULL,
    shard         INTEGER NOT NULL,
    first_offset  BIGINT NOT NULL,
    last_offset   BIGINT NOT NULL,
    records       BIGINT NOT NULL,
    bytes         BIGINT NOT NULL,
    raw_bytes     BIGINT NOT NULL,
    first_arrival BIGINT NOT NULL,
    last_arrival  BIGINT NOT NULL,
    changed_at    BIGINT NOT NULL,
    PRIMARY KEY (name, object_key)
);

CREATE INDEX cleaned_objects_state ON cleaned_objects (name, state, last_arrival);
