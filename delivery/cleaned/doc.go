// Package cleaned keeps the objects of the zone cleaned: records in their own format, those that
// passed what the pipeline demands of them.
//
// What enters: records, one JSON object a line, with their positions and arrival times. What leaves:
// compressed objects
//
//	cleaned/NAME/year=2026/month=11/day=20/hour=03/SHARD-FIRST-LAST.ndjson.zst
//
// and their rows in cleaned_objects. An object is announced before it is put, durable before a row
// calls it live (I4), and becomes live in the transaction that moves the progress of the delivery over
// its records (I2), so that every record is in exactly one live object.
//
// The hour is that of the records' arrival, and FIRST and LAST are the offsets of the first and the last
// record in the object; records between them may be missing, because they failed, were dropped or arrived
// in another hour. An object that is written again after a crash therefore overwrites itself, or has
// another name and the announced one is deleted.
//
// Records that failed and are tried again get objects beside those of the delivery, with a unique name behind
// FIRST and LAST.
//
// A [Writer] makes the objects of one commit; an [Archive] registers them, lists them for queries and ends
// their lives. Package delivery calls the first, package engine the second.
package cleaned
