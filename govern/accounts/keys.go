package accounts

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/govern"
	"github.com/tarn-data/tarn/metadb"
)

// algorithm of the keys made here: short signatures, and every OpenID Connect library verifies it.
const algorithm = jose.ES256

// Key is a signing key as listed.
type Key struct {
	ID        string    `json:"id"`
	Algorithm string    `json:"algorithm"`
	Created   time.Time `json:"created"`
	Ends      time.Time `json:"ends,omitzero"` // when it stops to verify; zero for one that signs
	Signs     bool      `json:"signs"`

	public jose.JSONWebKey
	sealed []byte
}

func scanKey(row scanner) (*Key, error) {
	var k Key
	var public []byte
	var created, ends int64
	if err := row.Scan(&k.ID, &public, &k.sealed, &created, &ends); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(public, &k.public); err != nil {
		return nil, err
	}
	k.Algorithm, k.Created = k.public.Algorithm, metadb.Time(created)
	if ends != 0 {
		k.Ends = metadb.Time(ends)
	}
	return &k, nil
}

// Keys returns the keys that still verify, newest first. The first without an end signs.
func (s *Store) Keys(ctx context.Context) ([]*Key, error) {
	all, err := list(ctx, s.db, "SELECT id, public, private, created_at, ends_at FROM auth_keys ORDER BY created_at DESC, id", scanKey)
	if err != nil {
		return nil, err
	}
	live := []*Key{}
	signs := false
	for _, k := range all {
		if !k.Ends.IsZero() && s.now().After(k.Ends) {
			continue
		}
		k.Signs = k.Ends.IsZero() && !signs
		signs = signs || k.Signs
		live = append(live, k)
	}
	return live, nil
}

// Rotate makes a new signing key. The others verify until the tokens that they signed have ended; discard
// ends them at once.
func (s *Store) Rotate(ctx context.Context, discard bool) (*Key, error) {
	if s.vault == nil {
		return nil, errors.New("accounts: no key file is open")
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	id := RandomText()[:22]
	public, err := json.Marshal(jose.JSONWebKey{Key: &private.PublicKey, KeyID: id, Algorithm: string(algorithm), Use: "sig"})
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, err
	}
	now := s.now()
	ends := now.Add(s.lifetime + time.Minute)
	err = s.db.Tx(ctx, func(tx *metadb.Tx) error {
		if discard {
			if _, err := tx.Exec(ctx, "DELETE FROM auth_keys"); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, "UPDATE auth_keys SET ends_at = ? WHERE ends_at = 0", metadb.Micros(ends)); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "INSERT INTO auth_keys (id, public, private, created_at, ends_at) VALUES (?, ?, ?, ?, 0)", id, public, s.vault.seal(der, id), metadb.Micros(now))
		return err
	})
	if err != nil {
		return nil, err
	}
	return &Key{ID: id, Algorithm: string(algorithm), Created: now, Signs: true}, nil
}

// Signer is the private key that signs now. It implements what the authorization server wants of a key.
type Signer struct {
	id  string
	key *ecdsa.PrivateKey
}

// SignatureAlgorithm is how it signs.
func (*Signer) SignatureAlgorithm() jose.SignatureAlgorithm { return algorithm }

// Key is the private key.
func (s *Signer) Key() any { return s.key }

// ID is the id of the key.
func (s *Signer) ID() string { return s.id }

// KeyRing holds the keys of a Store in memory. It is safe for concurrent use.
type KeyRing struct {
	store *Store
	log   *slog.Logger
	ring  atomic.Pointer[ring]
	lost  func()     // a key verifies no more
	read  sync.Mutex // one reading at a time
	last  time.Time  // of the last reading for an unknown key
}

type ring struct {
	keys   map[string]*Key
	all    []*Key
	signer *Signer
}

// KeyRing returns a ring; it makes the first key when there is none.
func (s *Store) KeyRing(ctx context.Context, log *slog.Logger) (*KeyRing, error) {
	r := &KeyRing{store: s, log: log, lost: func() {}}
	return r, r.refresh(ctx)
}

// OnLost makes the ring call f when a key verifies no more, so that tokens verified with it are forgotten.
// It is set before Run.
func (r *KeyRing) OnLost(f func()) { r.lost = f }

func (r *KeyRing) refresh(ctx context.Context) error {
	r.read.Lock()
	defer r.read.Unlock()
	return r.reload(ctx)
}

func (r *KeyRing) reload(ctx context.Context) error {
	all, err := r.store.Keys(ctx)
	if err != nil {
		return err
	}
	next := &ring{keys: map[string]*Key{}, all: all}
	for _, k := range all {
		next.keys[k.ID] = k
		if !k.Signs {
			continue
		}
		if next.signer, err = r.store.signer(k); err != nil {
			return err
		}
	}
	if next.signer == nil {
		if _, err := r.store.Rotate(ctx, false); err != nil {
			return err
		}
		return r.reload(ctx)
	}
	before := r.ring.Swap(next)
	if before == nil {
		return nil
	}
	for id := range before.keys {
		if next.keys[id] == nil {
			r.lost()
			break
		}
	}
	return nil
}

func (s *Store) signer(k *Key) (*Signer, error) {
	der, err := s.vault.open(k.sealed, k.ID)
	if err != nil {
		return nil, err
	}
	private, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	key, ok := private.(*ecdsa.PrivateKey)
	if !ok {
		return nil, &tarn.Error{Code: tarn.CodeInvalid, Detail: "the signing key " + k.ID + " is of a kind that this version does not know"}
	}
	return &Signer{k.ID, key}, nil
}

// Signer returns the key that signs now.
func (r *KeyRing) Signer() *Signer { return r.ring.Load().signer }

// Public returns the keys that verify.
func (r *KeyRing) Public() []jose.JSONWebKey {
	var keys []jose.JSONWebKey
	for _, k := range r.ring.Load().all {
		keys = append(keys, k.public)
	}
	return keys
}

// Key implements govern.Keys. A key that is not known is looked for in the database, at most once a second.
func (r *KeyRing) Key(ctx context.Context, id string) (jose.JSONWebKey, error) {
	k := r.ring.Load().keys[id]
	if k == nil {
		r.read.Lock()
		defer r.read.Unlock()
		if now := r.store.now(); now.Sub(r.last) >= time.Second {
			r.last = now
			if err := r.reload(ctx); err != nil {
				return jose.JSONWebKey{}, err
			}
		}
		k = r.ring.Load().keys[id]
	}
	if k == nil || !k.Ends.IsZero() && r.store.now().After(k.Ends) {
		return jose.JSONWebKey{}, govern.ErrNoKey
	}
	return k.public, nil
}

// keyAge is when a new signing key is made without being asked for.
const keyAge = 90 * 24 * time.Hour

// Run follows changes of the keys until ctx ends, and makes a new one when the one that signs is old.
func (r *KeyRing) Run(ctx context.Context) {
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := r.tend(ctx)
		if err != nil && ctx.Err() == nil {
			r.log.Error("signing keys cannot be read; the last known ones stay in use", "error", err)
		}
	}
}

func (r *KeyRing) tend(ctx context.Context) error {
	if err := r.refresh(ctx); err != nil {
		return err
	}
	for _, k := range r.ring.Load().all {
		if k.Signs && r.store.now().Sub(k.Created) > keyAge {
			if _, err := r.store.Rotate(ctx, false); err != nil {
				return err
			}
			return r.refresh(ctx)
		}
	}
	return nil
}
