package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/tarn-data/tarn/stream"
)

const (
	// headerRoom is what a message needs of max_payload besides its data.
	headerRoom = 1 << 10
	apiTimeout = 10 * time.Second
	// duplicateWindow is the least JetStream takes: see stream's idempotent requests.
	duplicateWindow = 100 * time.Millisecond
)

// ClusterOptions describe the servers of a cluster.
type ClusterOptions struct {
	URL        string        // nats://host:4222, several with commas
	Replicas   int           // copies of each log, 0 means 3
	Prefix     string        // of the names of streams and subjects, "" means tarn
	AckTimeout time.Duration // after which an append counts as not known, 0 means 5 s
	Options    []nats.Option // credentials, TLS
	Logger     *slog.Logger
}

// Engine keeps logs in JetStream. It implements stream.Engine.
type Engine struct {
	server     *server.Server // embedded, or nil
	logger     *slog.Logger
	prefix     string
	replicas   int
	ackTimeout time.Duration
	writes     *nats.Conn // appends and requests
	reads      *nats.Conn // scans, whose data must not delay acknowledgements
	acks       *acks
}

var _ stream.Engine = (*Engine)(nil)

// Connect uses the servers at a URL.
func Connect(ctx context.Context, o ClusterOptions) (*Engine, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	e := &Engine{logger: o.Logger, prefix: o.Prefix, replicas: o.Replicas, ackTimeout: o.AckTimeout}
	if e.prefix == "" {
		e.prefix = "tarn"
	}
	if e.replicas <= 0 {
		e.replicas = 3
	}
	opts := append([]nats.Option{
		nats.MaxReconnects(-1),
		nats.ReconnectWait(200 * time.Millisecond),
		nats.ReconnectBufSize(-1), // an append fails at once instead of being sent some time later
		nats.Timeout(5 * time.Second),
	}, o.Options...)
	if err := e.connect(o.URL, opts...); err != nil {
		return nil, err
	}
	return e, ctx.Err()
}

func (e *Engine) connect(url string, opts ...nats.Option) (err error) {
	if e.ackTimeout <= 0 {
		e.ackTimeout = 5 * time.Second
	}
	opts = append([]nats.Option{nats.Name("tarn"), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		e.logger.Warn("nats connection", "error", err)
	})}, opts...)
	if e.writes, err = nats.Connect(url, opts...); err == nil {
		e.reads, err = nats.Connect(url, opts...)
	}
	if err == nil {
		e.acks, err = newAcks(e.writes)
	}
	if err != nil {
		e.closeConns()
		return fmt.Errorf("jetstream: connect: %w", err)
	}
	return nil
}

// MaxMessage implements stream.Engine.
func (e *Engine) MaxMessage() int {
	return min(int(e.writes.MaxPayload())-headerRoom, embeddedMaxMessage)
}

// Exclusive implements stream.Engine: nobody else reaches an embedded server.
func (e *Engine) Exclusive() bool { return e.server != nil }

// Healthy reports what keeps the engine from taking appends, or nil. After its disk was full an
// embedded server takes none until the process starts again.
func (e *Engine) Healthy() error {
	switch {
	case e.server != nil && !e.server.JetStreamEnabled():
		return errors.New("jetstream: the embedded server has stopped; its disk may be full")
	case !e.writes.IsConnected() || !e.reads.IsConnected():
		return errors.New("jetstream: no connection to a server")
	}
	return nil
}

// Close implements stream.Engine.
func (e *Engine) Close() error {
	e.closeConns()
	if e.server != nil {
		stopServer(e.server)
	}
	return nil
}

func (e *Engine) closeConns() {
	if e.acks != nil {
		e.acks.close()
	}
	for _, nc := range []*nats.Conn{e.writes, e.reads} {
		if nc != nil {
			nc.Close()
		}
	}
}

// name returns the name of the JetStream stream of a log.
func (e *Engine) name(id stream.LogID) string {
	return e.prefix + "_" + id.Stream + "_" + strconv.Itoa(id.Shard)
}

// parseName is the reverse of name.
func (e *Engine) parseName(name string) (stream.LogID, bool) {
	rest, ok := strings.CutPrefix(name, e.prefix+"_")
	cut := strings.LastIndexByte(rest, '_')
	if !ok || cut < 1 {
		return stream.LogID{}, false
	}
	shard, err := strconv.Atoi(rest[cut+1:])
	return stream.LogID{Stream: rest[:cut], Shard: shard}, err == nil && shard >= 0
}

// Logs implements stream.Engine.
func (e *Engine) Logs(ctx context.Context) ([]stream.LogID, error) {
	var out []stream.LogID
	for offset := 0; ; {
		var page struct {
			Total   int
			Streams []string
		}
		if err := e.api(ctx, "STREAM.NAMES", map[string]any{"offset": offset}, &page); err != nil {
			return nil, err
		}
		for _, name := range page.Streams {
			if id, ok := e.parseName(name); ok {
				out = append(out, id)
			}
		}
		offset += len(page.Streams)
		if offset >= page.Total || len(page.Streams) == 0 {
			return out, nil
		}
	}
}

// apiError is an error that JetStream answered with.
type apiError struct {
	Code        int    `json:"code"`
	ErrCode     int    `json:"err_code"`
	Description string `json:"description"`
}

func (e *apiError) Error() string { return fmt.Sprintf("jetstream: %s (%d)", e.Description, e.ErrCode) }

// Error codes of JetStream.
const (
	codeAccountFull    = 10002
	codeNoResources    = 10023
	codeNoMessage      = 10037
	codeStorageFull    = 10047
	codeNameInUse      = 10058
	codeWrongLast      = 10071
	codeStoreFailed    = 10077
	codeWrongLastConst = 10164
)

func isAPIError(err error, code int) bool {
	var e *apiError
	return errors.As(err, &e) && e.ErrCode == code
}

// api calls the JetStream API. While a cluster elects a leader it answers nothing, or that it
// cannot: the call is repeated until ctx ends.
func (e *Engine) api(ctx context.Context, subject string, request, response any) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, apiTimeout)
		defer cancel()
	}
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	for {
		err := e.call(ctx, subject, body, response)
		var ae *apiError
		if err == nil || e.server != nil || errors.As(err, &ae) && ae.Code != 503 {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (e *Engine) call(ctx context.Context, subject string, body []byte, response any) error {
	ctx, cancel := context.WithTimeout(ctx, e.ackTimeout)
	defer cancel()
	msg, err := e.writes.RequestWithContext(ctx, "$JS.API."+subject, body)
	if err != nil {
		return fmt.Errorf("jetstream: %s: %w", subject, err)
	}
	var envelope struct{ Error *apiError }
	if err := json.Unmarshal(msg.Data, &envelope); err != nil {
		return fmt.Errorf("jetstream: %s: %w", subject, err)
	}
	if envelope.Error != nil {
		return envelope.Error
	}
	if response == nil {
		return nil
	}
	return json.Unmarshal(msg.Data, response)
}
