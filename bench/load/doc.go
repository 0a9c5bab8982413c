// Package load sends records to a Tarn server over HTTP, cheaply enough that on a shared machine the
// server is what is measured.
//
// What enters: the address of a server, the name of a stream and a function that appends records. What
// leaves: how many were acknowledged, how fast, and the time of every request. tarn demo and package
// bench call it.
//
// The client is HTTP/1.1 by hand on keep-alive connections: one writev for header and body, one read
// for the usual answer. A request costs it a few microseconds where net/http's client takes about
// twenty-five, which matters at tens of thousands of single-event requests a second on two cores.
package load
