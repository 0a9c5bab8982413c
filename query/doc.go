// Package query is the SQL service: one SELECT over the tables of the lake, as they are at one
// instant, in a sandbox, with bounded memory and time, its result streamed.
//
// What enters: SQL text with parameters; tables through Source (snapshot files and hot tail together)
// and SystemTables. What leaves: a Result whose batches are encoded as JSON, NDJSON, CSV, Arrow IPC or
// Parquet; a log of the last statements (system.query_log). Who calls: server (POST /v1/sql), engine.
//
// # The way of a statement
//
// DuckDB parses the text; the tree is checked (duck.CheckFunctions, no name that is not a table of
// the lake or a CTE) and rendered back with a placeholder for each table and parameter. What was
// checked is what runs. This much is cached by text. On each run the tables are acquired, their
// files pruned by the statement's own filters, the placeholders filled with read_parquet(…) of the
// files that are left, and the statement started. A table's View is released when the Result closes.
//
// # Pruning
//
// A planning instance holds empty stubs of the tables. DuckDB optimizes the statement over them and
// says which filters it moved down to each scan. A file whose statistics exclude all of them holds
// no row the plan would look at, and the plan means the same as the statement on any data: so the
// file is not opened. Anything not surely understood keeps every file.
//
// # Time travel
//
// FROM curated.telemetry AS t AT (TIMESTAMP => TIMESTAMP '2026-11-20 03:00:00'): the alias stands
// before AT. AT (VERSION => 123) names a snapshot. Request.At does the same for every table of a
// statement that has no AT of its own. Times without a zone are UTC. A view of the past has no hot tail.
//
// # Values
//
// See Format for how each type is written. Times are UTC.
package query
