// Package icebergtest proves that other engines read Tarn's tables: files written by DuckDB,
// committed by package table, then read by iceberg-go's own scan and by DuckDB, must give the same
// rows and the same pruning. It holds tests only.
package icebergtest
