// Package httpdoor is the door of POST /v1/streams/{stream}/records.
//
// A request enters with records in its body; it leaves as one answer that names, after the records
// are durable (I1), how many were accepted, which were rejected and why, and their positions. The
// way between: refuse what headers alone condemn, reserve memory (I8), read, decompress, frame
// (package record), append to every shard concerned (package stream). Package server mounts the
// Handler and renders its errors; package engine builds it and says which streams there are.
//
// # Requests
//
// Content-Type application/x-ndjson and its like hold one JSON record per line, application/json
// records in any layout that record.Frame reads; application/octet-stream is one opaque record;
// text/plain, a form or no type is looked at: a body that begins with { or [ is JSON. A pipeline of
// JSON records refuses what is opaque, one of opaque records takes every body as it is.
// Content-Encoding is gzip, zstd or identity. `?key=` or Tarn-Partition-Key gives all records one
// partition key. Idempotency-Key makes a repeat within 10 minutes return the first answer and add
// nothing; the answer is remembered in memory, and after a restart the streams themselves still
// recognize the repeat.
//
// # Memory
//
// Every byte of a body, compressed or not, is reserved from one budget per door before it is read
// or written; over the budget the answer is 429 with Retry-After. Buffers are pooled and never
// outlive their request: Append keeps nothing after it returned.
package httpdoor
