// Package bench measures Tarn: the real binary, started as a child process and loaded over HTTP, next
// to bare DuckDB doing the same work on the same events in the same run. A number is printed with the
// ratio to that floor, with the target it is held to, and with whether it is met.
//
// What enters: the path of a tarn binary and a number of events. What leaves: a Report, as a table or
// as JSON. The command tarn bench calls it. Package bench/load is the load generator.
//
// Each scenario starts servers of its own in fresh data folders, so that any one of them can run alone
// (Options.Only). Those that are compared to the floor run in turn with it, several times, and report
// medians; client and server share the machine, and the client's work is part of what is measured.
package bench
