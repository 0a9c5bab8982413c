package accounts

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tarn-data/tarn/govern"
	"github.com/tarn-data/tarn/metadb"
)

// The kinds of revocations.
const (
	kindToken   = "token"
	kindFamily  = "family"
	kindAccount = "account"
)

// familyMark stands between the family and the rest of the id of a token.
const familyMark = "."

// TokenID returns a new id for an access token of a family, which may be "".
func TokenID(family string) string { return family + familyMark + RandomText() }

func familyOf(tokenID string) string {
	family, _, _ := strings.Cut(tokenID, familyMark)
	return family
}

// RevokeToken voids one access token.
func (s *Store) RevokeToken(ctx context.Context, tokenID string) error {
	return s.db.Tx(ctx, func(tx *metadb.Tx) error { return s.revoke(ctx, tx, kindToken, tokenID) })
}

// RevokeFamily voids all tokens that came of one sign-in.
func (s *Store) RevokeFamily(ctx context.Context, family string) error {
	return s.db.Tx(ctx, func(tx *metadb.Tx) error { return s.revokeFamily(ctx, tx, family) })
}

func (s *Store) revokeFamily(ctx context.Context, tx *metadb.Tx, family string) error {
	if _, err := tx.Exec(ctx, "DELETE FROM auth_refresh_tokens WHERE family = ?", family); err != nil {
		return err
	}
	return s.revoke(ctx, tx, kindFamily, family)
}

// revoke notes that what was issued until now is void. Times in tokens are whole seconds, so that the whole
// running second is void; see Settle.
func (s *Store) revoke(ctx context.Context, tx *metadb.Tx, kind, id string) error {
	now := s.now()
	before := metadb.Micros(now.Truncate(time.Second).Add(time.Second))
	_, err := tx.Exec(ctx, `INSERT INTO auth_revocations (kind, id, before, expires_at) VALUES (?, ?, ?, ?)
		ON CONFLICT (kind, id) DO UPDATE SET before = excluded.before, expires_at = excluded.expires_at`, kind, id, before, metadb.Micros(now.Add(s.lifetime+time.Hour)))
	return err
}

// Settle waits until tokens issued now are told from those that a change of the account at that time voided:
// at most a second.
func (s *Store) Settle(ctx context.Context, changed time.Time) error {
	wait := changed.Truncate(time.Second).Add(time.Second).Sub(s.now())
	if wait <= 0 || wait > time.Second {
		return nil
	}
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// void is what has been revoked, as last read. It is immutable.
type void struct {
	tokens, families map[string]bool
	accounts         map[string]time.Time // issued before
}

// Watch follows what is revoked, for a Guard. Its methods are safe for concurrent use.
type Watch struct {
	store *Store
	log   *slog.Logger
	void  atomic.Pointer[void]
}

// Watch returns a watch that knows what is revoked now.
func (s *Store) Watch(ctx context.Context, log *slog.Logger) (*Watch, error) {
	w := &Watch{store: s, log: log}
	return w, w.Refresh(ctx)
}

// every is how long a revocation on another node may go unnoticed here.
const every = time.Second

// Run follows changes until ctx ends, and deletes what no longer matters.
func (w *Watch) Run(ctx context.Context) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := w.Refresh(ctx)
		if err == nil && n%600 == 0 {
			err = w.store.sweep(ctx)
		}
		if err != nil && ctx.Err() == nil {
			w.log.Error("revoked tokens cannot be read; the last known ones stay in force", "error", err)
		}
	}
}

// Refresh reads what is revoked.
func (w *Watch) Refresh(ctx context.Context) error {
	rows, err := w.store.db.Query(ctx, "SELECT kind, id, before FROM auth_revocations WHERE expires_at > ?", metadb.Micros(w.store.now()))
	if err != nil {
		return err
	}
	defer rows.Close()
	v := &void{tokens: map[string]bool{}, families: map[string]bool{}, accounts: map[string]time.Time{}}
	for rows.Next() {
		var kind, id string
		var before int64
		if err := rows.Scan(&kind, &id, &before); err != nil {
			return err
		}
		switch kind {
		case kindToken:
			v.tokens[id] = true
		case kindFamily:
			v.families[id] = true
		case kindAccount:
			v.accounts[id] = metadb.Time(before)
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	w.void.Store(v)
	return nil
}

// Revoked reports whether a token is void.
func (w *Watch) Revoked(p *govern.Principal) bool {
	v := w.void.Load()
	return v.tokens[p.TokenID] || len(v.families) > 0 && v.families[familyOf(p.TokenID)] ||
		p.Issued.Before(v.accounts[p.Subject]) || p.Issued.Before(v.accounts[p.Client])
}

// sweep deletes rows that have ended.
func (s *Store) sweep(ctx context.Context) error {
	now := metadb.Micros(s.now())
	for _, q := range []string{
		"DELETE FROM auth_revocations WHERE expires_at <= ?",
		"DELETE FROM auth_requests WHERE expires_at <= ?",
		"DELETE FROM auth_refresh_tokens WHERE expires_at <= ?",
		"DELETE FROM auth_keys WHERE ends_at <> 0 AND ends_at <= ?",
	} {
		if _, err := s.db.Exec(ctx, q, now); err != nil {
			return err
		}
	}
	return nil
}
