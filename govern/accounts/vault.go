package accounts

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tarn-data/tarn"
)

// Vault seals what the metadata database must not hold in the clear, with a key from a file of its own: a
// copy of the database alone signs no token.
type Vault struct{ key []byte }

// OpenVault reads the key file at path, and makes it when it does not exist. Nodes that share a metadata
// database share the file.
func OpenVault(path string) (*Vault, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeKeyFile(path); err == nil || errors.Is(err, fs.ErrExist) {
			text, err = os.ReadFile(path)
		}
	}
	if err != nil {
		return nil, &tarn.Error{Code: tarn.CodeInvalid, Detail: "the key file " + path + " cannot be read or made", Hint: "check its permissions, or name another as auth.key_file", Err: err}
	}
	key, err := base64.RawURLEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != 32 {
		return nil, &tarn.Error{Code: tarn.CodeInvalid, Detail: "the file " + path + " is not a key file", Hint: "it holds one line of 43 characters; restore it, or remove it to begin with new keys"}
	}
	return &Vault{key}, nil
}

// makeKeyFile writes a new key, durable before its name appears, and never over an existing one.
func makeKeyFile(path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".key-*") // with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(RandomText() + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Link(f.Name(), path)
}

// Derive returns 32 bytes for one purpose.
func (v *Vault) Derive(purpose string) [32]byte {
	b, err := hkdf.Key(sha256.New, v.key, nil, "tarn "+purpose, 32)
	if err != nil {
		panic(err) // 32 bytes are always granted (RFC 5869)
	}
	return [32]byte(b)
}

func (v *Vault) aead() cipher.AEAD {
	key := v.Derive("seal")
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // the key has 32 bytes
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // AES has the block size that GCM needs
	}
	return gcm
}

// seal encrypts text; name is bound to it.
func (v *Vault) seal(text []byte, name string) []byte {
	return v.aead().Seal(nil, nil, text, []byte(name))
}

// open is the inverse of seal.
func (v *Vault) open(sealed []byte, name string) ([]byte, error) {
	text, err := v.aead().Open(nil, nil, sealed, []byte(name))
	if err != nil {
		return nil, &tarn.Error{Code: tarn.CodeInvalid, Detail: "the signing keys in the metadata database were sealed with another key file",
			Hint: "restore the key file, or name it as auth.key_file; tarn auth keys rotate --discard begins anew and voids all tokens"}
	}
	return text, nil
}
