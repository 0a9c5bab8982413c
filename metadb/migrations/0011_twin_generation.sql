-- Tells a twin from another of its name, in a database that was made anew; random.
ALTER TABLE twins ADD COLUMN generation TEXT NOT NULL DEFAULT '';
