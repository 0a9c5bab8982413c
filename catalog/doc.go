// Package catalog finds tables in folders of files that something else wrote, and keeps them.
//
// What enters: a Crawler, which names a folder and what to do when its files change. What leaves: a
// Report of what was found, and external tables in the metadata database, which the SQL service
// reads through View. Who calls: engine (crawlers of the project, POST /v1/crawls, queries) and
// cmd/tarn (tarn crawl).
//
// # The way of a file
//
// The folder is walked; what is hidden, empty, unfinished or not a file is left out with a reason.
// A file whose size and time are as at the last crawl is not opened again. The head of another one
// says format, compression and encoding (Detect); DuckDB then reads it and says its columns. What
// DuckDB cannot open is converted to Parquet, once for each content, in Options.Cache. Format,
// dialect and columns together are the Layout of a file; most files of a folder share one.
//
// # Grouping
//
// Layouts agree when the columns of one are those of the other, or some of them, with types that
// widen into one another. Files of agreeing layouts are one table, whichever folders they lie in; a
// folder of Hive partitions (year=2026/month=11) is one table whatever its layouts. See group.go.
//
// # Atomicity
//
// A crawl reads and decides in memory and writes in one transaction, which is fenced by the
// crawler's version: readers see the tables of before or after, and of two crawls at once one is
// refused. A crawl that is killed leaves nothing but unused files in the cache.
package catalog
