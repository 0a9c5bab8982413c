-- Functions that bring records in, by pipeline. slot is the last one that was begun or passed over, in
-- microseconds; none up to it is begun again. checkpoint is the state that the last successful run
-- returned, JSON or empty. The counts are over all runs.
CREATE TABLE pull_sources (
    pipeline   TEXT PRIMARY KEY,
    slot       BIGINT NOT NULL,
    runs       BIGINT NOT NULL,
    failed     BIGINT NOT NULL,
    skipped    BIGINT NOT NULL,
    records    BIGINT NOT NULL,
    checkpoint $BLOB NOT NULL
);

-- The last runs of each. state is running, answered, done or failed. answer is what the function
-- answered until its records are in the stream, and empty then; plan says how they are framed and from
-- where the stream is to be read to find out which of them are in it; outcome is what came of the run.
-- Both are JSON.
CREATE TABLE pull_runs (
    pipeline    TEXT NOT NULL,
    run         BIGINT NOT NULL,
    function    TEXT NOT NULL,
    slot        BIGINT NOT NULL,
    state       TEXT NOT NULL,
    answer      $BLOB NOT NULL,
    plan        $BLOB NOT NULL,
    outcome     $BLOB NOT NULL,
    started_at  BIGINT NOT NULL,
    finished_at BIGINT NOT NULL,
    PRIMARY KEY (pipeline, run)
);
