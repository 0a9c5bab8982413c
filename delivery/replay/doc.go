// Package replay runs records through today's code that have been through the code of another day:
// failed records, and the history of a pipeline.
//
// What enters: a delivery's configuration, and records from the failed-record store, the stream or the
// raw backup. What leaves: a commit in which the new rows take the place of what the records were before,
// so that accepted = in table + failed + … holds at every moment (I3), whenever the process is killed.
//
// The work is done by a delivery.Worker: this package gives it another delivery.Source to read from and
// another delivery.Store to commit to. Failed records of databases and of the zone cleaned are tried again
// in sessions beside those of their delivery, whose documents announce what is not settled yet.
//
// The engine calls it for tarn failed retry and tarn replay.
package replay
