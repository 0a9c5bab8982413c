// Package decode turns a file of any supported format into JSON records.
//
// In: a file (its bytes, its name) and what the user says about it. [Look] finds out the
// compression, the format and, for CSV, the delimiter, header and kinds of the columns; what it
// found is a [Plan], which can be stored. Out: [Open] reads the file by a plan and yields its
// records one by one, each with the line it begins at. The same bytes and the same plan give the
// same records, always: package filedrop counts on that after a crash.
//
// Records are JSON texts without line breaks, not validated: package record does that. What is no
// record at all, such as a CSV row with too many fields, is a [Reject] with its line, and reading
// goes on after it. Files are streamed in bounded memory, whatever their size (I8).
//
// Package filedrop calls it. Nothing here writes, keeps state between calls or is safe for
// concurrent use.
package decode
