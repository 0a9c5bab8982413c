// Package fleet makes the telemetry of a railway wagon fleet: deterministic JSON events for the
// demo, the benchmark and tests.
//
// What enters: a seed, a start time, a spacing and the number of an event. What leaves: the bytes of
// that event. The same options and number always give the same bytes, so producers can share one
// numbering without talking to each other, and a test can name every byte that should be in a table.
// It is called by tarn demo, package bench and tests; it imports the standard library only.
//
// Events come in rounds: in each round every device reports once, in a shuffled order. So event i
// belongs to round i/Devices, which is also its seq, and seq has no gaps within one device.
package fleet
