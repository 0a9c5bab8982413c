// Package firehose turns a batch of records into the event of a Firehose data transformation and the
// function's answer back into records, so that functions written for Amazon Data Firehose run as they
// are (https://docs.aws.amazon.com/firehose/latest/dev/data-transformation.html).
//
// What enters: records with their positions, and the bytes a function answered. What leaves: events of
// at most 6 MiB, and for every record sent exactly one Outcome, in the order sent. The caller of a
// transforming function uses it; nothing here does I/O.
package firehose
