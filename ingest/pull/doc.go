// Package pull is the door for functions that bring records in: on a schedule, or again and again.
//
// Slots of a timetable enter; the records that a function answers leave into the pipeline's stream,
// those of each slot exactly once, however often the process is killed on the way. Package engine makes
// one [Puller] for each pipeline with such a source and runs it.
//
// # Slots
//
// A slot is a moment at which the function is due: a minute of a cron schedule, a multiple of an
// interval (counted from the year 1 in UTC, so that a restart does not shift it), or, continuous, the
// moment at which the last run ended and the pause after it is over. One run follows the other. The last
// slot that was begun or passed over is kept in the metadata database, and none up to it begins again: a
// clock that jumps backwards repeats nothing, and nothing is due until it is past that slot. Slots that
// went by while the process was down, the clock jumped, the pipeline was paused or the last run took too
// long are missed: [CatchUp] says which of them run. The first slot of a new source is the next one.
//
// # The way of a run
//
//  1. The slot is begun: one transaction stores the run and moves the last slot. From here on the run is
//     brought to its end, whatever is stopped in between.
//  2. The function is invoked with an EventBridge "Scheduled Event" (package function/schedule) whose id
//     is the same for every attempt at the slot, and whose detail.state is what the last successful run
//     returned as state. A failed attempt is repeated after a pause; a crash repeats it as well, so the
//     function may run more than once for a slot.
//  3. Its answer, how it is framed and the ends of the stream's shards are stored durably.
//  4. The records are framed and appended. The request id of a part is made of the pipeline, the slot and
//     the number of the part. After a crash the stream is read from the ends noted: the ids found there
//     are the parts that need not be appended again.
//  5. One transaction stores the outcome and the new state. Without it there is neither.
//
// A run whose attempts all fail is recorded as failed, the state stays, and the next slot goes on.
//
// Records that are no JSON objects were never accepted, so they are no failed records: the run counts
// them and keeps the first [MaxRejects] with the reason and the beginning of their text. The others go on.
//
// # Memory
//
// A run holds one answer, at most 6 MiB, and about as much again while it is framed (I8). When the stream
// is busy the puller waits.
package pull
