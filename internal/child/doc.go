// Package child runs the real tarn binary as a child process and speaks to it over HTTP, so that
// benchmarks measure and crash tests kill what a user would run.
//
// What enters: the path of a binary, a project folder and a data folder. What leaves: a running
// process with its address, memory and CPU time, and a small client for the few requests that package
// bench and internal/crashtest make. Only those two call it.
package child
