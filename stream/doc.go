// Package stream keeps records in durable, sharded, replayable logs.
//
// In: segments of records from doors, through [Stream.Append], which gathers concurrent appends
// to a shard into one message (group commit) and returns when that is durable (I1). Out: batches
// in order of their offsets, through [Reader], to deliveries and tails; and, for doors that were killed,
// which of their requests a stream holds, through [Stream.Find].
//
// The log itself is behind [Engine] and [Log], whose comments are the protocol; package
// stream/jetstream implements them, in process and for an external cluster. This package owns
// everything above: dense offsets, group commit, idempotent requests, ambiguous acknowledgements,
// retention by age, back-pressure (I8) and the recent messages kept in memory for readers that
// have caught up.
package stream
