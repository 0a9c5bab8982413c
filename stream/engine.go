package stream

import (
	"context"
	"errors"
	"time"
)

// Errors of engines. Others leave open whether what was asked happened.
var (
	// ErrConflict: the expected last sequence was not the last. This attempt wrote nothing.
	ErrConflict = errors.New("the log has moved on")
	// ErrRefused: the log will not take this message. Nothing was written.
	ErrRefused = errors.New("the log refused the message")
	// ErrStorage: the log cannot write any more, until it is opened again. Whether the message
	// is there then is open.
	ErrStorage = errors.New("the storage of the log failed")
	// ErrNotFound: there is no message with that sequence, or none at all.
	ErrNotFound = errors.New("no such message")
)

// Engine keeps logs. It is safe for concurrent use.
type Engine interface {
	// Open opens a log, creating it if needed; where the configuration differs from the one the
	// log was created with, the log takes the new one.
	Open(ctx context.Context, cfg LogConfig) (Log, error)
	// Logs lists the logs that exist.
	Logs(ctx context.Context) ([]LogID, error)
	// MaxMessage is the size in bytes of the largest message that logs take.
	MaxMessage() int
	// Exclusive reports whether this process is the only one that can write to the logs.
	Exclusive() bool
	// Close ends all logs and frees the engine. Appends under way may or may not be written.
	Close() error
}

// LogID names a log.
type LogID struct {
	Stream string
	Shard  int
}

// LogConfig describes a log to open.
type LogConfig struct {
	LogID
	MaxBytes int64 // the oldest messages go when the log is larger; 0 means no bound
}

// Log is an ordered, durable sequence of messages: the storage of one shard.
//
// Order: messages have sequence numbers from 1 upwards without holes, except where messages at
// the beginning were purged or one was damaged. A number is never given twice, not even after
// everything was purged or the log was opened again.
//
// Durability: when an append reports success, the message is on stable storage (with replicas, on
// a majority) and survives the loss of power. A message whose append reported failure other than
// ErrConflict or ErrRefused may be there or not, and may still appear later.
//
// Compare and append: Append names the sequence number that must be the last of the log. Of two
// appends that expect the same number at most one succeeds. Writers build on this alone: they may
// die, hang or race each other, and a read that is behind costs a retry, never consistency.
//
// Retention: the log drops messages from its beginning when it is larger than MaxBytes, and by
// Purge. It never drops the last.
//
// All methods are safe for concurrent use. Where the bytes of a message are returned the caller
// owns them.
type Log interface {
	// Append begins to write msg as the next message and returns when msg may be changed again;
	// the outcome arrives on the returned channel, exactly once. Several appends may be under
	// way; they are written in the order of the calls, and each expects the one before it.
	// Keyed marks the message for ScanOptions.Keyed.
	Append(msg []byte, expectLast uint64, keyed bool) <-chan AppendResult
	// Get returns the message with that sequence number, read where it was written, so that it
	// sees every append that has succeeded. ErrNotFound if there is none.
	Get(ctx context.Context, seq uint64) (Message, error)
	// Last returns the last message, as Get. ErrNotFound if there has never been one.
	Last(ctx context.Context) (Message, error)
	// Scan reads messages in order from the first whose sequence is at least from. It may be
	// behind the writer by a moment.
	Scan(from uint64, o ScanOptions) Scanner
	// SeqAt returns the sequence number of the first message written at or after t, or
	// ErrNotFound if there is none yet.
	SeqAt(ctx context.Context, t time.Time) (uint64, error)
	// State describes the log now.
	State(ctx context.Context) (LogState, error)
	// Purge drops the messages before seq, except the last of the log.
	Purge(ctx context.Context, seq uint64) error
}

// AppendResult is the outcome of an append: the sequence number, or why it failed.
type AppendResult struct {
	Seq uint64
	Err error
}

// Message is one message of a log.
type Message struct {
	Seq  uint64
	Time time.Time // when it was written
	Data []byte
}

// ScanOptions choose messages.
type ScanOptions struct {
	Keyed bool // only messages appended with keyed
}

// Scanner reads a log in order, ahead of its caller. Not safe for concurrent use.
type Scanner interface {
	// Next returns the next message; false when there is none at present, then it may be called
	// again later. The error is ErrNotFound where the next message is damaged: Skip goes past it.
	Next(ctx context.Context) (Message, bool, error)
	// Skip goes on with the message after seq.
	Skip(seq uint64)
	// Close frees what the scanner holds.
	Close()
}

// LogState describes a log. With no message, FirstSeq is LastSeq+1.
type LogState struct {
	FirstSeq, LastSeq   uint64
	Messages, Bytes     uint64
	FirstTime, LastTime time.Time
}
