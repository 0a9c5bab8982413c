package server

import (
	"crypto/tls"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/tarn-data/tarn"
)

// Certificate serves HTTPS with a certificate from files, which are read again when they change. It is safe
// for concurrent use.
type Certificate struct {
	cert, key string
	log       *slog.Logger

	mu     sync.Mutex
	loaded *tls.Certificate
	stamp  [2]time.Time // of the files that were loaded, or last tried
	looked time.Time
}

// certEvery is how often the files are looked at.
const certEvery = time.Second

// LoadCertificate reads a certificate chain and its private key, PEM. CodeInvalid says why it cannot.
func LoadCertificate(cert, key string, log *slog.Logger) (*Certificate, error) {
	c := &Certificate{cert: cert, key: key, log: log, looked: time.Now()}
	c.stamp = c.stamps()
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, &tarn.Error{Code: tarn.CodeInvalid, Detail: "the certificate " + cert + " with the key " + key + " cannot be used",
			Hint: "auth.tls names a PEM chain and its private key, which this user can read", Err: err}
	}
	c.loaded = &pair
	return c, nil
}

// Wrap makes a listener speak TLS 1.2 or newer.
func (c *Certificate) Wrap(ln net.Listener) net.Listener {
	return tls.NewListener(ln, &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current(), nil }})
}

// current returns the certificate, read again when its files have changed. A pair that cannot be read leaves
// the one before in use: the two files are rarely replaced at the same instant.
func (c *Certificate) current() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.looked) < certEvery {
		return c.loaded
	}
	c.looked = time.Now()
	stamp := c.stamps()
	if stamp == c.stamp {
		return c.loaded
	}
	c.stamp = stamp
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		c.log.Error("the changed certificate cannot be used; the one before stays", "cert", c.cert, "error", err)
		return c.loaded
	}
	c.loaded = &pair
	c.log.Info("the certificate was read again", "cert", c.cert)
	return c.loaded
}

func (c *Certificate) stamps() (s [2]time.Time) {
	for i, name := range []string{c.cert, c.key} {
		if info, err := os.Stat(name); err == nil {
			s[i] = info.ModTime()
		}
	}
	return s
}
