package jetstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const (
	// embeddedMaxMessage is the largest message of the embedded server. Its file store takes less
	// than 32 MiB with the message's header.
	embeddedMaxMessage = 31 << 20

	// readyTimeout is how long a server that has started may take to accept connections.
	readyTimeout = 5 * time.Second
	// slowStart is after how long a start is worth a message.
	slowStart = 10 * time.Second
)

// ServerOptions describe an embedded server.
type ServerOptions struct {
	Dir      string // folder of its files; one process at a time may use it
	MaxBytes int64  // disk space for all logs, 0 for what is free
	Logger   *slog.Logger
}

// Start runs a JetStream server inside the process and connects to it. It returns when the server
// has recovered its logs. Nothing of it can be reached from outside.
func Start(ctx context.Context, o ServerOptions) (*Engine, error) {
	if o.Dir == "" {
		return nil, errors.New("jetstream: no folder for the logs")
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("jetstream: %w", err)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	srv, err := server.NewServer(&server.Options{
		ServerName:             "tarn",
		DontListen:             true,
		NoSigs:                 true,
		NoSystemAccount:        true,
		DisableJetStreamBanner: true,
		JetStream:              true,
		StoreDir:               dir,
		JetStreamMaxStore:      o.MaxBytes,
		JetStreamMaxMemory:     1 << 20,
		SyncAlways:             true, // I1: an acknowledged message is on the disk
		MaxPayload:             embeddedMaxMessage + 64<<10,
		MaxPending:             256 << 20,
		WriteDeadline:          time.Minute,
	})
	if err != nil {
		return nil, fmt.Errorf("jetstream: %w", err)
	}
	log := newLogger(o.Logger)
	srv.SetLoggerV2(log, false, false, false)
	if err := startServer(ctx, srv, log); err != nil {
		stopServer(srv)
		return nil, err
	}
	e := &Engine{server: srv, logger: o.Logger, prefix: "tarn", replicas: 1}
	if err := e.connect(nats.DefaultURL, nats.InProcessServer(srv)); err != nil {
		srv.Shutdown()
		return nil, err
	}
	return e, nil
}

// startServer starts the server and waits until it has recovered its logs, however long that takes.
func startServer(ctx context.Context, srv *server.Server, log *logger) error {
	started := make(chan struct{})
	go func() {
		srv.Start()
		close(started)
	}()
	slow := time.NewTicker(slowStart)
	defer slow.Stop()
	for {
		select {
		case <-started:
			if why := log.fatal(); why != "" || !srv.ReadyForConnections(readyTimeout) || !srv.JetStreamEnabled() {
				return fmt.Errorf("jetstream: the embedded server did not start: %s", why)
			}
			return nil
		case <-slow.C:
			log.out.Info("still recovering the logs; after a process was killed they are read through once")
		case <-ctx.Done():
			return fmt.Errorf("jetstream: the embedded server did not start in time: %w", ctx.Err())
		}
	}
}

// stopServer ends the embedded server and waits for it.
func stopServer(srv *server.Server) {
	srv.Shutdown()
	srv.WaitForShutdown()
}
