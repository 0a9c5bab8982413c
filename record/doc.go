// Package record turns request bodies into batches of records and back.
//
// In: the body of a request, as a door received it. [Frame] splits it into records, validates
// each and computes its shape in one pass over the bytes, and groups what is acceptable into one
// [Segment] per shard. Out: the [Batch] encoding that streams store, one message per batch; a
// [Builder] assembles it once, [DecodeBatch] reads it without copying.
//
// Doors call Frame, package stream calls Builder and DecodeBatch, deliveries call DecodeBatch,
// [Segment.Records] and [Inspect].
//
// For conversions a [Shredder] takes plain records apart into the columns of package column.
//
// Record bytes are never altered (I5). Nothing here does I/O, keeps state between calls or starts
// goroutines; functions are safe for concurrent use.
package record
