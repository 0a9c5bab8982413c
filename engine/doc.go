// Package engine wires the parts of Tarn into one running lake: it owns the data folder, starts the
// parts in order, keeps what runs equal to what the project says, and drains on the way out.
//
// What enters: a project and a data folder. What leaves: an HTTP address. Package main calls it;
// tests start several engines side by side in one process.
//
// The data folder:
//
//	LOCK        held while an engine runs
//	address     the HTTP address of the engine that runs
//	project.json  the project applied last, for tarn plan
//	meta/       the metadata database, unless the project names another; the ends of the streams
//	streams/    the embedded streams, unless the project names a NATS cluster
//	lake/       the zones: raw, cleaned, curated; unless the project names another folder
//	staging/    the hot tail and files on their way; emptied at every start
//
// Order of start: lock, metadata, SQL engines and streams, pipelines, HTTP. The way out is the
// reverse: requests in flight are answered, deliveries come to the end of their streams, if they can
// within five seconds, and commit what they have read, then the stores close. A process that dies instead loses nothing that was acknowledged (I1, I2).
package engine
