// Package raw keeps exactly the accepted bytes of a stream as objects in the zone raw (I5), and
// reads them back.
//
// What enters: the messages of a stream, from the positions committed in the metadata database; no
// other offset is trusted. What leaves: compressed objects
//
//	raw/STREAM/year=2026/month=11/day=20/hour=03/SHARD-FIRST-LAST.ndjson.zst
//
// and, in one transaction, their rows in raw_objects together with the moved progress. An object is
// durable before a row names it (I4), so that every record is in exactly one registered object; an
// object that no row names is deleted by the next session of the writer.
//
// The parts: a [Writer] for each stream, run by the engine beside the deliveries; an [Archive], the
// registered objects with their lifecycle and proofs; its records one by one with Archive.Records, for replays; a [Cache] that
// turns objects into Parquet files when SQL asks for them.
//
// # Objects
//
// An object holds consecutive records of one shard in one of two forms. In the form ndjson every record is
// followed by a newline: that form is for JSON records whose request had no newline or carriage
// return within a record. Any other record, and every record of a stream of opaque bytes, goes into
// the form frames: each record follows its length as an unsigned varint, in files that end in
// .frames.zst. An object of that form takes records of the other kind along until it has
// [framesRun] bytes, so that mixed streams do not make many small objects.
//
// The hour in the name is that of the arrival of the first record. A record of a later hour begins
// the next object; one that was overtaken on its way into the stream stays where it is, so the
// folder of an hour may hold the last records of the one before. The rows have the exact times.
//
// A file is a sequence of zstd frames (RFC 8878) of about a mebibyte of records each, then one skippable
// frame with the index: where the frames are, when the records arrived and under which partition key.
// Decompressed by any tool, the file gives the records and nothing else.
package raw
