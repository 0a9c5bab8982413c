// Package jetstream keeps the logs of package stream in NATS JetStream: one JetStream stream per
// shard, with file storage.
//
// [Start] runs a server inside this process that listens on nothing, writes every message through
// to the disk before it acknowledges, and keeps its files in one folder. [Connect] uses the
// servers of a cluster by URL. Both return the same [Engine]; package engine calls one of them.
//
// It is the only importer of NATS.
package jetstream
