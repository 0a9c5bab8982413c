//go:build race

package table_test

// raceEnabled relaxes limits on time.
const raceEnabled = true
