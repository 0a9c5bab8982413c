-- When the kept original of a taken file was removed by the lifecycle of its zone, in microseconds; 0
-- while it is kept. The row stays: the same bytes are still known.
ALTER TABLE taken_files ADD COLUMN original_gone BIGINT NOT NULL DEFAULT 0;
