package govern

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/tarn-data/tarn"
)

// How an issuer's keys are kept.
const (
	keysFresh  = 15 * time.Minute // then they are read again
	keysRetry  = 10 * time.Second // between readings for keys that are not known, and after failures
	maxKeySet  = 1 << 20          // bytes of a key set or a discovery document
	maxSetKeys = 100              // keys of a set
)

// Remote is an OpenID Connect issuer elsewhere: its keys, found by discovery and kept. While it cannot be
// reached, the keys that are known go on to verify; a token of another key is then CodeUnavailable. It is safe
// for concurrent use.
type Remote struct {
	issuer string
	client *http.Client
	log    *slog.Logger
	now    func() time.Time
	lost   func()

	mu    sync.Mutex // one reading at a time
	state sync.RWMutex
	keys  map[string]jose.JSONWebKey
	read  time.Time // when keys were read
	tried time.Time // when the last reading began
	err   error     // of the last reading
}

// NewRemote returns an issuer by its URL. It reads nothing yet. lost is called when a key is no longer in the
// issuer's set. client may be nil.
func NewRemote(issuer string, client *http.Client, log *slog.Logger, lost func()) (*Remote, error) {
	u, err := url.Parse(issuer)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil || u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Hostname())) {
		return nil, &tarn.Error{Code: tarn.CodeInvalid, Detail: "auth.issuer is not the URL of an issuer", Hint: "write its https:// URL as its tokens name it"}
	}
	if client == nil {
		client = &http.Client{Timeout: 10 * time.Second}
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if lost == nil {
		lost = func() {}
	}
	return &Remote{issuer: issuer, client: client, log: log, now: time.Now, lost: lost}, nil
}

func loopback(host string) bool {
	return host == "localhost" || host == "127.0.0.1" || host == "::1"
}

// Key implements Keys.
func (r *Remote) Key(ctx context.Context, id string) (jose.JSONWebKey, error) {
	if k, ok := r.known(id); ok {
		return k, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if k, ok := r.known(id); ok { // read while this waited
		return k, nil
	}
	if r.now().Sub(r.tried) >= keysRetry {
		r.refresh(ctx)
	}
	if k, ok := r.known(id); ok {
		return k, nil
	}
	if r.err != nil {
		return jose.JSONWebKey{}, &tarn.Error{Code: tarn.CodeUnavailable, Detail: "the issuer " + r.issuer + " cannot be reached, so that this token cannot be checked", Hint: "try again in a moment", Err: r.err}
	}
	return jose.JSONWebKey{}, ErrNoKey
}

// known returns a key that was read. A token without a key id is served when the issuer has one key only.
func (r *Remote) known(id string) (jose.JSONWebKey, bool) {
	r.state.RLock()
	defer r.state.RUnlock()
	if id == "" && len(r.keys) == 1 {
		for _, k := range r.keys {
			return k, true
		}
	}
	k, ok := r.keys[id]
	return k, ok
}

// Run reads the keys now and whenever they are old, until ctx ends.
func (r *Remote) Run(ctx context.Context) {
	tick := time.NewTicker(keysRetry)
	defer tick.Stop()
	for {
		r.mu.Lock()
		if r.now().Sub(r.read) >= keysFresh {
			r.refresh(ctx)
		}
		r.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// refresh reads the keys. r.mu is held.
func (r *Remote) refresh(ctx context.Context) {
	r.tried = r.now()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second) // others wait for it too
	defer cancel()
	keys, err := r.fetch(ctx)
	if err != nil {
		r.log.Warn("the keys of the issuer cannot be read; those that are known stay in use", "issuer", r.issuer, "error", err)
		r.err = err
		return
	}
	r.err, r.read = nil, r.now()
	r.state.Lock()
	gone := false
	for id := range r.keys {
		_, still := keys[id]
		gone = gone || !still
	}
	r.keys = keys
	r.state.Unlock()
	if gone {
		r.lost()
	}
}

func (r *Remote) fetch(ctx context.Context) (map[string]jose.JSONWebKey, error) {
	var doc struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err := r.get(ctx, strings.TrimSuffix(r.issuer, "/")+"/.well-known/openid-configuration", &doc); err != nil {
		return nil, err
	}
	if doc.Issuer != r.issuer { // OpenID Connect Discovery 1.0, 4.3
		return nil, fmt.Errorf("discovery names the issuer %q", doc.Issuer)
	}
	u, err := url.Parse(doc.Keys)
	if err != nil || u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Hostname())) {
		return nil, errors.New("discovery names no https:// address of keys")
	}
	var set jose.JSONWebKeySet
	if err := r.get(ctx, doc.Keys, &set); err != nil {
		return nil, err
	}
	keys := map[string]jose.JSONWebKey{}
	for _, k := range set.Keys {
		if k.Valid() && k.IsPublic() && (k.Use == "" || k.Use == "sig") && len(keys) < maxSetKeys {
			keys[k.KeyID] = k
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("the issuer has no keys")
	}
	return keys, nil
}

func (r *Remote) get(ctx context.Context, url string, v any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", url, resp.Status)
	}
	return json.NewDecoder(io.LimitReader(resp.Body, maxKeySet)).Decode(v)
}
