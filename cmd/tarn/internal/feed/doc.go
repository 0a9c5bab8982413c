// Package feed turns files and pipes of JSON into bodies for POST /v1/streams/{stream}/records.
//
// A reader of NDJSON, a JSON array, or pretty-printed or concatenated objects enters, compressed
// with gzip or zstd or not; batches of one record per line leave, each record with the file and
// line it came from, so that a rejected one can be pointed at. Records are not validated here: the
// server does that. The command put is the caller.
package feed
