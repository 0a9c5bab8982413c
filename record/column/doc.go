// Package column is how records become rows without a second parse: batches of columns that whoever reads
// the records fills, value by value, in the memory of the SQL engine.
//
// What enters: values of records in any order of columns, row after row. What leaves: the same values by
// column, with a bitmap of those that are there. Package record fills batches from NDJSON, the file doors'
// decoders from CSV; package duck makes them and hands them to DuckDB.
package column
