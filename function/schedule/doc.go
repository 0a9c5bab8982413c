// Package schedule makes the event of a function that brings records in, and reads what it answers.
//
// What enters: the slot of a schedule, and the bytes a source function answered. What leaves: the
// event that Amazon EventBridge sends on a schedule, and a list of records. The runner of source
// functions calls it; nothing here does I/O.
package schedule
