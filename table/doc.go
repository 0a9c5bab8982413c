// Package table keeps Iceberg tables (format version 2) in a lake bucket: schemas and their
// evolution, commits of Parquet files together with the stream positions they came from, planning,
// time travel and maintenance.
//
// What enters: descriptions of finished Parquet files with their statistics, progress, failed
// records. What leaves: immutable States and lists of files. The data itself never passes through;
// whoever writes Parquet puts it into the bucket first and hands in DataFiles.
//
// The pointer to a table's current metadata lives in the metadata database. One transaction moves
// it and everything that must move with it (I2): progress, failed records, documents and the list
// of files the new metadata no longer names. Metadata files are durable before that transaction
// begins (I4). Metadata is written as the Iceberg table specification asks
// (https://iceberg.apache.org/spec/), manifests through iceberg-go, and read back by iceberg-go in
// the tests.
//
// Callers: delivery commits, query and engine read, engine runs the maintenance.
package table
