// Package database writes rows into a table of a PostgreSQL or SQLite database, exactly once.
//
// What enters: rows as Go values with the types of their columns, and the positions they came from.
// What leaves: rows in the table and, in the same transaction of that database, the progress of every
// shard in a table tarn_progress beside it (I2). No other offset is trusted: whoever delivers reads it
// there first, and raises an epoch that fences everybody who delivered before.
//
// A table that is not there is created; one that is there is used as it is, and gets the columns that
// records have and it lacks. A row that the database refuses is a [RefusedError] and leaves the
// transaction whole, so that the caller can find the record and go on with the others.
//
// Records that have failed and are tried again come in sessions beside those of the delivery, see
// [Target.Retrying]: their progress counts them, and moves with their rows as that of the delivery does.
//
// Package delivery calls it, one [Session] for each delivery and one for its retries. Addresses with their passwords stay in
// here: no error and no log has them (I7).
package database
