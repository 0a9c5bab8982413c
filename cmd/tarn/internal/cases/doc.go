// Package cases compares what a pipeline made of a recorded input with what is expected of it.
//
// What enters: rows and failed records as NDJSON. What leaves: a Diff, and the files of expectations in
// one canonical form: keys sorted, numbers and times written one way, columns without a value left out.
//
// Only tarn test calls it.
package cases
