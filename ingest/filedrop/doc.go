// Package filedrop is the door for files: those dropped into a folder that it watches, and those that
// a client pushes (POST /v1/pipelines/{pipeline}/runs, tarn run).
//
// A file enters; its records leave into the pipeline's stream, each exactly once, however often the
// process is killed on the way. Package engine makes one [Door] for each pipeline and runs it, package
// server mounts the [Handler].
//
// # What a file is
//
// A file is what its bytes are: within a pipeline the first 128 bits of their BLAKE3 name it. The same
// name with other bytes is another file. The same bytes under another name are taken once; the second
// file is moved to done/ with a .duplicate.json beside it. A push may ask for the same bytes again.
//
// A file of the folder is finished when two looks at least the settle time apart see the same size, time and
// inode, its name does not begin with a dot or end in .tmp, .part or .crdownload, and it is a regular
// file. One that changes, is renamed or is replaced while it is read is given up and looked at anew. An
// empty file is moved to done/ and gives no records. One that cannot be read is moved to failed/.
//
// # The way of a file
//
//  1. It is copied to raw/files/PIPELINE/HASH/NAME in the lake, durably, and the copy hashed (I5). Nobody else can
//     write to the copy, see docs/adr/0019-take-over.md.
//  2. How to read it is found out (package decode), the conditions of the deliveries are asked, and both
//     are written into the metadata database with the ends of the stream's shards.
//  3. Its records are read from the copy, given the members _line, _file and _file_hash, cut into chunks
//     and appended. The request id of a chunk is made of the file and the chunk's number. Of a large file
//     that can be read from the middle the stream gets references to its pieces ([Originals.Fetch]).
//  4. The outcome is written into the metadata database, and the file is moved to done/ or failed/.
//
// After a crash the stream is read from the ends noted: the ids found there are the chunks that need
// not be appended again. The plan is what was stored, so that the chunks are the same.
//
// Records that are no JSON, or CSV rows with the wrong number of fields, are counted and listed in
// NAME.rejected.ndjson beside the file; the others go on. A file with records of which none is good
// fails. So does one that is damaged somewhere: what came before the damage stays in the stream, and
// NAME.error.json says where that is.
//
// # Lifecycle
//
// Package engine applies the rules of the zone raw to the copies ([Originals]): first the rows say that a
// copy is gone, then it is deleted (I4). One that a stream refers to is kept. The rows stay, so that the same bytes are a duplicate for ever.
// done/ and failed/ belong to the user.
//
// # Memory
//
// A file of any size is read in chunks of 4 MiB, of which three are in memory; Options.Slots bounds how
// many files are read at once over all doors (I8). When the stream is busy the door waits.
package filedrop
