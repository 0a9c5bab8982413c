// Package delivery turns the records of a stream into committed rows of a table, exactly once.
//
// What enters: one stream, the progress stored with the table, the transform SQL and the table's
// definition. What leaves: Parquet files in the lake and one commit that names them together with
// the positions they came from (I2); rows visible to queries before that, as the hot tail; and
// failed records with position, stage and reason, committed in the same transaction (I3).
//
// The way of the data through a Worker:
//
//	shards → functions → gather → chunk (NDJSON on disk) → convert ┬→ segment (hot tail) ─ flush: merge ┬→ commit
//	         some events ahead    shapes checked, misfits failed   └→ final files, when much comes ─────┘
//
// To convert is to take plain records apart into columns (shred.go), or to have DuckDB read the chunk, and to
// run the transform over that. Records of large files are read only then (later.go).
//
// A delivery may also end in a table of a database outside of Tarn, or in the zone cleaned. All but the
// end is the same then: target says what the ends have in common, and packages database and cleaned do
// the writing.
//
// A worker trusts no offset but the one committed with its table. After any error it forgets what
// it has staged and starts again from there. Conversion is a function of the records and of the input
// schema committed with the table, so the same rows come out.
//
// The engine makes one Worker per delivery, runs it, and asks it for views (package query's Source)
// and for its status.
package delivery
