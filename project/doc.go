// Package project turns a folder of YAML, SQL and function code into a validated spec.
//
// A folder enters (tarn.yaml, pipelines/*.yaml and the SQL files they name, functions/*/function.yaml
// and the code beside them); a Project with every
// default filled in leaves, or all of the folder's Faults at once, each with its file, line, column,
// path, hint and stable code. The engine consumes the Project; the command line shows the Faults,
// the Plan between two Projects, the editor schema and the starter project. Nothing here runs
// SQL or code: the caller lends a parser through Options, and a function is known by its settings
// and the digest of its files.
//
// Files are hostile until proved otherwise: sizes, nesting, alias expansion and the number of
// faults are bounded (I8), links that lead out of the folder are refused, addresses never show their
// passwords, and the values of secrets are not read before a function starts (I7).
package project
