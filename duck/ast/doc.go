// Package ast reads the syntax trees of SELECT statements that DuckDB serializes as JSON, so that a
// statement can be judged and rewritten as DuckDB itself parsed it rather than by its text.
//
// What enters: the answer of json_serialize_sql. What leaves: a tree that can be walked with the
// names of common table expressions in scope, changed in place, and encoded for json_deserialize_sql.
// Who calls: duck (checks of transforms) and query (the sandbox, name resolution).
//
// The walk knows every kind of node it lets pass and fails on any other (UnknownError): a
// construct that a newer DuckDB adds is refused until somebody has looked at it.
package ast
