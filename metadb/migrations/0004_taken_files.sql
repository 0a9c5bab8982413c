-- Files that came into a pipeline, by dropping or by a run. take counts how often the same content
-- was taken on purpose. state is taking, done or failed. plan decides which records the file holds and
-- how they are cut into requests; note says from where the stream is to be read to find out which of
-- those are in it; outcome is what the door answers. All three are JSON.
CREATE TABLE taken_files (
    pipeline    TEXT NOT NULL,
    hash        TEXT NOT NULL,
    take        INTEGER NOT NULL,
    name        TEXT NOT NULL,
    size        BIGINT NOT NULL,
    modified    BIGINT NOT NULL,
    state       TEXT NOT NULL,
    plan        $BLOB NOT NULL,
    note        $BLOB NOT NULL,
    outcome     $BLOB NOT NULL,
    taken_at    BIGINT NOT NULL,
    finished_at BIGINT NOT NULL,
    PRIMARY KEY (pipeline, hash, take)
);

CREATE INDEX taken_files_state ON taken_files (pipeline, state);
