package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"github.com/tarn-data/tarn"
)

// DefaultAddress is where Tarn listens unless told otherwise.
const DefaultAddress = "127.0.0.1:8080"

// Listen opens the TCP listener of the HTTP interface. Unless guarded, which means that callers need a token
// or the connection is HTTPS, it refuses every address that is not loopback (CodeForbidden). A taken port
// is CodeConflict. Port 0 takes a free one.
func Listen(ctx context.Context, addr string, guarded bool) (net.Listener, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, &tarn.Error{Code: tarn.CodeInvalid, Detail: "the listen address " + addr + " is not HOST:PORT", Hint: "write it like " + DefaultAddress, Err: err}
	}
	ips, err := resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	for _, ip := range ips {
		if !guarded && !ip.Unmap().IsLoopback() {
			return nil, &tarn.Error{Code: tarn.CodeForbidden,
				Detail: "Tarn does not listen on " + addr + ": everybody who reaches it could read and write the lake, and no credentials are configured",
				Hint:   "write auth: {mode: embedded} into tarn.yaml, or listen on " + DefaultAddress}
		}
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", net.JoinHostPort(ips[0].String(), port))
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, &tarn.Error{Code: tarn.CodeConflict, Detail: "the address " + addr + " is in use", Hint: "stop the other process or choose another port with --listen 127.0.0.1:PORT", Err: err}
	case err != nil:
		return nil, &tarn.Error{Code: tarn.CodeInvalid, Detail: "Tarn cannot listen on " + addr, Hint: "choose an address of this machine with --listen 127.0.0.1:PORT", Err: err}
	}
	return ln, nil
}

// resolve returns the addresses of host. An empty host means every interface.
func resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if host == "" {
		return []netip.Addr{netip.IPv4Unspecified()}, nil
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip}, nil
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil || len(ips) == 0 {
		return nil, &tarn.Error{Code: tarn.CodeInvalid, Detail: "the listen address names the unknown host " + host, Hint: "write it like " + DefaultAddress, Err: err}
	}
	return ips, nil
}

// Limits of every connection. Bodies have limits of their own in their handlers, because a tail
// or a large result may stream for hours.
const (
	headerTimeout  = 10 * time.Second
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 64 << 10
)

// Serve answers connections of ln with h until ctx ends, then drains: it stops accepting, lets
// requests in flight finish for up to drain, cuts the rest, and returns nil. It closes ln.
func Serve(ctx context.Context, ln net.Listener, h http.Handler, drain time.Duration, logger *slog.Logger) error {
	base, cut := context.WithCancel(context.WithValue(context.WithoutCancel(ctx), drainKey{}, ctx.Done()))
	defer cut()
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		BaseContext:       func(net.Listener) context.Context { return base },
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelDebug), // faults of clients, not ours
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	wait, stop := context.WithTimeout(base, drain)
	defer stop()
	if err := srv.Shutdown(wait); err != nil {
		logger.Warn("requests were cut at shutdown", "waited", drain)
		cut() // ends tails and queries that would go on for ever
		err = srv.Close()
		<-done
		return err
	}
	<-done
	return nil
}

// drainKey is what the context of a request holds the channel of draining under.
type drainKey struct{}

// draining returns a channel that closes when the server of a request begins to drain. What would go
// on for ever ends then; everything else is finished.
func draining(ctx context.Context) <-chan struct{} {
	c, _ := ctx.Value(drainKey{}).(<-chan struct{})
	return c
}

// loopbackHost reports whether the Host header names this machine's loopback, with or without a port.
func loopbackHost(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
