// Package duck is the only part of Tarn that talks to DuckDB. It embeds instances of it, bounds
// their memory, threads and reach, and turns their errors into *tarn.Error.
//
// What enters: SQL text, arguments as Go values, names of files the caller has chosen, schemas, and relations
// whose rows Go code puts into columns while a statement reads them (DB.Relate).
// What leaves: Arrow record batches streamed as DuckDB makes them, Go values for small results,
// Parquet files with exact statistics, and SQL text that reads such files (ReadParquet, ReadNDJSON).
//
// Who calls: delivery (transform, convert, COPY into Parquet), query (the SQL service), engine
// (the rewriter of compaction), project (CheckSelect on transforms).
//
// Many instances live in one process; each is a *DB and independent of the others. A *DB is safe
// for concurrent use. A *Conn and a *Rows belong to one goroutine at a time.
//
// The driver is the C API by way of duckdb-go-bindings rather than database/sql: only so
// do results stream (database/sql holds the whole result in memory, against I8).
package duck
