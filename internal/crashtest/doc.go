// Package crashtest proves the durability claims on the real binary: it runs tarn up as a child
// process, loads it from several producers, kills it with SIGKILL at random and at chosen moments,
// restarts it, and compares the ids that producers hold an acknowledgement for with what SQL returns:
// each exactly once (I1, I2, I3).
//
// What enters: the source tree, built once, or the path of a binary in TARN_BINARY. What leaves: test
// failures with the seed and the end of the server's log. TARN_CRASH_ROUNDS sets the number of kills,
// TARN_CRASH_SEED repeats a run's choices. The package is skipped by go test -short.
package crashtest
