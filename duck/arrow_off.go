//go:build !duckdb_arrow

package duck

// Query results leave DuckDB as Arrow, which its Go bindings have only with a build tag. A program
// built without it could answer nothing, so it does not build.
var _ = build_with_the_tag_duckdb_arrow_as_the_Makefile_does
