// Package metadb is the metadata database: SQLite in a file by default, PostgreSQL by URL, behind
// database/sql with one set of SQL and migrations for both.
//
// What enters is SQL with ? placeholders; what leaves is rows. Portable SQL only: BIGINT, INTEGER,
// TEXT, DOUBLE PRECISION, and the tokens $BLOB and $SERIAL in migrations, where a statement behind
// $POSTGRES is for PostgreSQL only. Times are stored as BIGINT microseconds since 1970 in UTC, byte
// strings as $BLOB.
//
// Callers: table, engine and whatever keeps small facts that must commit together.
package metadb
