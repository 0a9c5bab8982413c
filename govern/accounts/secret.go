package accounts

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"

	"golang.org/x/crypto/argon2"
)

// Secret is a password or the secret of a client. Every way of printing it hides it (I7); Reveal does not.
type Secret struct{ text string }

// NewSecret wraps a text.
func NewSecret(text string) Secret { return Secret{text} }

// RandomSecret makes a secret of 256 bits.
func RandomSecret() Secret { return Secret{RandomText()} }

// RandomText returns 256 random bits as 43 characters that need no escaping anywhere.
func RandomText() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// Reveal returns the text.
func (s Secret) Reveal() string { return s.text }

// String hides the secret.
func (Secret) String() string { return "xxxxx" }

// GoString hides the secret.
func (Secret) GoString() string { return "xxxxx" }

// MarshalText hides the secret.
func (Secret) MarshalText() ([]byte, error) { return []byte("xxxxx"), nil }

// Digest is the stored form of a random text of full strength, which needs no slow hash.
func Digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// The cost of a hash: argon2id with 19 MiB, two passes, one thread, as OWASP's cheat sheet on password
// storage recommends at least.
const (
	hashKiB    = 19 << 10
	hashPasses = 2
	hashBytes  = 32
	saltBytes  = 16

	maxHashes = 2 // at a time, so that sign-ins cost at most 38 MiB (I8)
)

// hasher hashes secrets, maxHashes at a time. dummy is compared with when there is no account, so that its
// absence takes as long to find out as a wrong secret.
type hasher struct {
	slots chan struct{}
	dummy string
}

func newHasher() *hasher {
	return &hasher{slots: make(chan struct{}, maxHashes), dummy: hash("", make([]byte, saltBytes))}
}

func (h *hasher) enter(ctx context.Context) error {
	select {
	case h.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// hash returns the stored form of a secret.
func (h *hasher) hash(ctx context.Context, s Secret) (string, error) {
	if err := h.enter(ctx); err != nil {
		return "", err
	}
	defer func() { <-h.slots }()
	salt := make([]byte, saltBytes)
	_, _ = rand.Read(salt) // never fails (crypto/rand)
	return hash(s.text, salt), nil
}

// matches compares a secret with a stored form; with "" it takes as long and is false.
func (h *hasher) matches(ctx context.Context, s Secret, stored string) (bool, error) {
	if err := h.enter(ctx); err != nil {
		return false, err
	}
	defer func() { <-h.slots }()
	known := stored != ""
	if !known {
		stored = h.dummy
	}
	salt, err := saltOf(stored)
	if err != nil {
		return false, err
	}
	same := subtle.ConstantTimeCompare([]byte(hash(s.text, salt)), []byte(stored)) == 1
	return same && known, nil
}

const hashForm = "$argon2id$v=19$m=%d,t=%d,p=1$%s$%s"

func hash(text string, salt []byte) string {
	sum := argon2.IDKey([]byte(text), salt, hashPasses, hashKiB, 1, hashBytes)
	return fmt.Sprintf(hashForm, hashKiB, hashPasses, base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(sum))
}

// saltOf reads the salt of a stored form. Another cost than today's is refused: a form with a cost of its own
// would let whoever writes the database choose how much memory a sign-in takes.
func saltOf(stored string) ([]byte, error) {
	prefix := fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=1$", hashKiB, hashPasses)
	saltLen := base64.RawStdEncoding.EncodedLen(saltBytes)
	if len(stored) < len(prefix)+saltLen || stored[:len(prefix)] != prefix {
		return nil, errors.New("a stored secret is not in a form that this version reads")
	}
	return base64.RawStdEncoding.DecodeString(stored[len(prefix) : len(prefix)+saltLen])
}
