// Package laketest holds what every bucket is tested with: the conformance list (Run), a wrapper
// that injects faults by predicate (Wrap), and a file system that forgets what was not fsynced
// (PowerCut). Callers: tests only.
package laketest
