// Package extract runs SQL over streams for ever.
//
// What enters: the records of one stream, read by a delivery.Worker from the positions committed with
// what it made of them. What leaves, exactly once: rows in a stream (StreamSink), updates of a twin
// (TwinSink), or the results of windows of event time, in a stream (WindowSink). A table needs no sink:
// package delivery brings rows there.
//
// SQL without windows works record by record, so that its rows do not depend on batches. Windows are
// decided by the records alone: whether one is late depends on its own shard, what a window holds on the
// times of the records, and its result is the SQL over all of it, run once. So the same records give the
// same results, live, replayed or after a crash, however they were batched.
//
// Compile checks a statement and prepares it. The engine puts the parts together.
package extract
