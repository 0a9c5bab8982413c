-- What the hash of a taken file is: of all until here SHA-256. A file that comes is compared with those by its
-- size, before it is hashed once more.
ALTER TABLE taken_files ADD COLUMN algorithm TEXT NOT NULL DEFAULT 'sha256';

CREATE INDEX taken_files_sha256 ON taken_files (pipeline, size) WHERE algorithm = 'sha256';
