// Package twin keeps the newest value of every metric of every component.
//
// Updates enter through Twin.Apply, from continuous SQL and from the HTTP interface, in any order,
// any number of times; what leaves is the current values (Get, Component, List), the changes as they
// happen (Watch), the past (At, History: SQL over a table of the lake) and a whole twin as rows for
// SQL (Scan). Callers: engine, which opens a Store, and server, which answers from it.
//
// Of two updates of one metric the newer one wins: by time, then by position, then by a hash of the
// content, so that the order is total. A state is the greatest update of each metric, and greatest
// does not depend on the order, the number or the batches of those compared. Removing a metric is an
// update like any other. With an expiry, a value is hidden when its time is that long ago, whether or
// not its row is still there.
//
// Values live in the metadata database, SQLite or PostgreSQL, and in memory, where reads find them.
// The memory is bounded (I8): over the bound components are forgotten and read from the database when
// they are asked for. On PostgreSQL several nodes write to one twin; each sees what the others wrote
// within Options.Refresh.
package twin
