// Package lake is the ground objects stand on: the Bucket contract, its errors and the rules for
// keys. Finished Parquet files, Iceberg metadata and raw backups enter; readers and URLs that
// DuckDB and other engines can open leave.
//
// Backends live in folders below (lake/fs). A backend is done when every case of lake/laketest
// passes over it. Callers: table, delivery, engine.
package lake
