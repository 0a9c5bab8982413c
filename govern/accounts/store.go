package accounts

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/govern"
	"github.com/tarn-data/tarn/metadb"
)

// Options configure a Store. The zero value is safe.
type Options struct {
	// TokenLifetime is the longest time that an access token may still be valid after its account
	// changed or its key retired; default 24 h.
	TokenLifetime time.Duration
	Now           func() time.Time
}

// Store keeps accounts in the metadata database. It is safe for concurrent use.
type Store struct {
	db       *metadb.DB
	vault    *Vault
	hasher   *hasher
	lifetime time.Duration
	now      func() time.Time
}

// New returns a store. vault opens the private keys; without one they can be listed only.
func New(db *metadb.DB, vault *Vault, o Options) *Store {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.TokenLifetime <= 0 {
		o.TokenLifetime = 24 * time.Hour
	}
	return &Store{db: db, vault: vault, hasher: newHasher(), lifetime: o.TokenLifetime, now: o.Now}
}

// The kinds of clients.
const (
	Service = "service" // has a secret and calls for itself
	Public  = "public"  // people sign in through it
)

// Client is a program that may ask for tokens.
type Client struct {
	ID           string        `json:"id"`
	Kind         string        `json:"kind"`
	Description  string        `json:"description,omitempty"`
	Scopes       govern.Scopes `json:"scopes"`
	RedirectURIs []string      `json:"redirect_uris,omitempty"`
	Created      time.Time     `json:"created"`
	Changed      time.Time     `json:"changed"` // tokens issued before are void

	secretHash string
}

// User is a person who may sign in.
type User struct {
	ID      string        `json:"id"` // the subject of tokens
	Name    string        `json:"name"`
	Scopes  govern.Scopes `json:"scopes"`
	Created time.Time     `json:"created"`
	Changed time.Time     `json:"changed"`

	passwordHash string
}

// accountName is a name of a client or user: it stands in tokens, logs and URLs.
var accountName = regexp.MustCompile(`^[a-z0-9][a-z0-9._@-]{0,62}$`)

func checkName(what, name string) error {
	if !accountName.MatchString(name) {
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: strconv.Quote(name) + " is not the name of a " + what,
			Hint: "a name begins with a-z or 0-9 and goes on with these and . _ @ -, at most 63 in all"}
	}
	return nil
}

func checkScopes(scopes govern.Scopes) error {
	if len(scopes) == 0 {
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: "no scope is given", Hint: "name at least one, for example --scope sql:read"}
	}
	for _, s := range scopes {
		if err := govern.CheckScope(s); err != nil {
			return err
		}
	}
	return nil
}

// checkRedirect wants an https URL, or http to this machine, without a fragment or user (RFC 9700, 2.1).
func checkRedirect(raw string) error {
	u, err := url.Parse(raw)
	local := err == nil && slices.Contains([]string{"127.0.0.1", "::1", "localhost"}, u.Hostname())
	if err != nil || u.Host == "" || u.Fragment != "" || u.User != nil || strings.ContainsAny(raw, "%\\* \n") || u.Scheme != "https" && !(u.Scheme == "http" && local) {
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: strconv.Quote(raw) + " is not an address to go back to after a sign-in",
			Hint: "write an https:// URL, or http://127.0.0.1:PORT/PATH, without a fragment and without %"}
	}
	return nil
}

// AddClient stores a new client and returns its secret, empty for a public one. CodeConflict says that the
// name is taken.
func (s *Store) AddClient(ctx context.Context, c Client) (Secret, error) {
	if err := errors.Join(checkName("client", c.ID), checkScopes(c.Scopes)); err != nil {
		return Secret{}, firstOf(err)
	}
	if c.Kind == Public && len(c.RedirectURIs) == 0 || c.Kind == Service && len(c.RedirectURIs) > 0 {
		return Secret{}, &tarn.Error{Code: tarn.CodeInvalid, Detail: "a public client has addresses to go back to, a service has none", Hint: "use --public and --redirect together"}
	}
	for _, u := range c.RedirectURIs {
		if err := checkRedirect(u); err != nil {
			return Secret{}, err
		}
	}
	var secret Secret
	var err error
	if c.Kind == Service {
		secret = RandomSecret()
		if c.secretHash, err = s.hasher.hash(ctx, secret); err != nil {
			return Secret{}, err
		}
	}
	now := metadb.Micros(s.now())
	_, err = s.db.Exec(ctx, "INSERT INTO auth_clients (id, kind, description, secret_hash, scopes, redirect_uris, created_at, changed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
		c.ID, c.Kind, c.Description, c.secretHash, c.Scopes.String(), strings.Join(c.RedirectURIs, "\n"), now, now)
	if metadb.IsDuplicate(err) {
		return Secret{}, &tarn.Error{Code: tarn.CodeConflict, Detail: "there is a client " + c.ID + " already", Hint: "choose another name, or remove it first"}
	}
	return secret, err
}

// firstOf returns the first of joined errors, which is what a user can mend first.
func firstOf(err error) error {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		return many.Unwrap()[0]
	}
	return err
}

const clientColumns = "id, kind, description, secret_hash, scopes, redirect_uris, created_at, changed_at"

type scanner interface{ Scan(...any) error }

func scanClient(row scanner) (*Client, error) {
	var c Client
	var scopes, uris string
	var created, changed int64
	if err := row.Scan(&c.ID, &c.Kind, &c.Description, &c.secretHash, &scopes, &uris, &created, &changed); err != nil {
		return nil, err
	}
	c.Scopes, c.Created, c.Changed = govern.ParseScopes(scopes), metadb.Time(created), metadb.Time(changed)
	if uris != "" {
		c.RedirectURIs = strings.Split(uris, "\n")
	}
	return &c, nil
}

// Client returns the client of that id, or CodeNotFound.
func (s *Store) Client(ctx context.Context, id string) (*Client, error) {
	c, err := scanClient(s.db.QueryRow(ctx, "SELECT "+clientColumns+" FROM auth_clients WHERE id = ?", id))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, notFound("client", id)
	}
	return c, err
}

func notFound(what, name string) error {
	return &tarn.Error{Code: tarn.CodeNotFound, Detail: "there is no " + what + " " + strconv.Quote(name), Hint: "tarn auth " + what + "s ls lists them"}
}

// Clients returns all clients in order of their ids.
func (s *Store) Clients(ctx context.Context) ([]*Client, error) {
	return list(ctx, s.db, "SELECT "+clientColumns+" FROM auth_clients ORDER BY id", scanClient)
}

func list[T any](ctx context.Context, db *metadb.DB, q string, scan func(scanner) (T, error)) ([]T, error) {
	rows, err := db.Query(ctx, q)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := []T{}
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}

// RemoveClient removes a client and voids its tokens.
func (s *Store) RemoveClient(ctx context.Context, id string) error {
	return s.change(ctx, id, func(tx *metadb.Tx) error {
		return wantOne("client", id)(tx.Exec(ctx, "DELETE FROM auth_clients WHERE id = ?", id))
	})
}

// RotateClient gives a service a new secret and voids the old one and its tokens.
func (s *Store) RotateClient(ctx context.Context, id string) (Secret, error) {
	secret := RandomSecret()
	hash, err := s.hasher.hash(ctx, secret)
	if err != nil {
		return Secret{}, err
	}
	if c, err := s.Client(ctx, id); err != nil {
		return Secret{}, err
	} else if c.Kind != Service {
		return Secret{}, &tarn.Error{Code: tarn.CodeInvalid, Detail: "the client " + id + " is public and has no secret", Hint: "remove it to void its tokens"}
	}
	return secret, s.change(ctx, id, func(tx *metadb.Tx) error {
		return wantOne("client", id)(tx.Exec(ctx, "UPDATE auth_clients SET secret_hash = ?, changed_at = ? WHERE id = ?", hash, metadb.Micros(s.now()), id))
	})
}

func wantOne(what, name string) func(int64, error) error {
	return func(n int64, err error) error {
		if err == nil && n == 0 {
			err = notFound(what, name)
		}
		return err
	}
}

// change runs do and voids every token of an account, in one transaction.
func (s *Store) change(ctx context.Context, account string, do func(*metadb.Tx) error) error {
	return s.db.Tx(ctx, func(tx *metadb.Tx) error {
		if err := do(tx); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "DELETE FROM auth_refresh_tokens WHERE subject = ? OR client_id = ?", account, account); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "DELETE FROM auth_requests WHERE subject = ? OR client_id = ?", account, account); err != nil {
			return err
		}
		return s.revoke(ctx, tx, kindAccount, account)
	})
}

// Authenticate returns the service with that id and secret, or CodeUnauthenticated. A client that does not
// exist takes as long as a wrong secret.
func (s *Store) Authenticate(ctx context.Context, id string, secret Secret) (*Client, error) {
	c, err := s.Client(ctx, id)
	if err != nil && tarn.CodeOf(err) != tarn.CodeNotFound {
		return nil, err
	}
	stored := ""
	if c != nil {
		stored = c.secretHash
	}
	ok, err := s.hasher.matches(ctx, secret, stored)
	if err == nil && !ok {
		err = errWrong
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

var errWrong = &tarn.Error{Code: tarn.CodeUnauthenticated, Detail: "the name or the secret is wrong"}

// minPassword is the shortest password taken (NIST SP 800-63B, 3.1.1.2, for one factor: 15 is advised, 8 is
// the least; a longer one than maxPassword only costs time).
const (
	minPassword = 10
	maxPassword = 1024
)

func checkPassword(p Secret) error {
	if n := len(p.text); n < minPassword || n > maxPassword {
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: "the password has fewer than " + strconv.Itoa(minPassword) + " or more than " + strconv.Itoa(maxPassword) + " bytes"}
	}
	return nil
}

// AddUser stores a new user.
func (s *Store) AddUser(ctx context.Context, name string, password Secret, scopes govern.Scopes) (*User, error) {
	if err := errors.Join(checkName("user", name), checkScopes(scopes), checkPassword(password)); err != nil {
		return nil, firstOf(err)
	}
	hash, err := s.hasher.hash(ctx, password)
	if err != nil {
		return nil, err
	}
	now := s.now()
	u := &User{ID: uuid.NewString(), Name: name, Scopes: scopes, Created: now, Changed: now}
	_, err = s.db.Exec(ctx, "INSERT INTO auth_users (id, name, password_hash, scopes, created_at, changed_at) VALUES (?, ?, ?, ?, ?, ?)",
		u.ID, name, hash, scopes.String(), metadb.Micros(now), metadb.Micros(now))
	if metadb.IsDuplicate(err) {
		return nil, &tarn.Error{Code: tarn.CodeConflict, Detail: "there is a user " + name + " already", Hint: "choose another name, or remove the user first"}
	}
	return u, err
}

const userColumns = "id, name, password_hash, scopes, created_at, changed_at"

func scanUser(row scanner) (*User, error) {
	var u User
	var scopes string
	var created, changed int64
	if err := row.Scan(&u.ID, &u.Name, &u.passwordHash, &scopes, &created, &changed); err != nil {
		return nil, err
	}
	u.Scopes, u.Created, u.Changed = govern.ParseScopes(scopes), metadb.Time(created), metadb.Time(changed)
	return &u, nil
}

// Users returns all users in order of their names.
func (s *Store) Users(ctx context.Context) ([]*User, error) {
	return list(ctx, s.db, "SELECT "+userColumns+" FROM auth_users ORDER BY name", scanUser)
}

// User returns the user with that subject, or CodeNotFound.
func (s *Store) User(ctx context.Context, id string) (*User, error) { return s.user(ctx, "id", id) }

func (s *Store) user(ctx context.Context, column, value string) (*User, error) {
	u, err := scanUser(s.db.QueryRow(ctx, "SELECT "+userColumns+" FROM auth_users WHERE "+column+" = ?", value))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, notFound("user", value)
	}
	return u, err
}

// SignIn returns the user with that name and password, or CodeUnauthenticated. A user who does not exist
// takes as long as a wrong password.
func (s *Store) SignIn(ctx context.Context, name string, password Secret) (*User, error) {
	u, err := s.user(ctx, "name", name)
	if err != nil && tarn.CodeOf(err) != tarn.CodeNotFound {
		return nil, err
	}
	stored := ""
	if u != nil {
		stored = u.passwordHash
	}
	if len(password.text) > maxPassword {
		password = Secret{}
	}
	ok, err := s.hasher.matches(ctx, password, stored)
	if err == nil && !ok {
		err = errWrong
	}
	if err != nil {
		return nil, err
	}
	return u, nil
}

// RemoveUser removes a user and voids the tokens that were issued for the user.
func (s *Store) RemoveUser(ctx context.Context, name string) error {
	u, err := s.user(ctx, "name", name)
	if err != nil {
		return err
	}
	return s.change(ctx, u.ID, func(tx *metadb.Tx) error {
		return wantOne("user", name)(tx.Exec(ctx, "DELETE FROM auth_users WHERE id = ?", u.ID))
	})
}

// SetPassword changes the password of a user and voids the user's tokens.
func (s *Store) SetPassword(ctx context.Context, name string, password Secret) error {
	if err := checkPassword(password); err != nil {
		return err
	}
	u, err := s.user(ctx, "name", name)
	if err != nil {
		return err
	}
	hash, err := s.hasher.hash(ctx, password)
	if err != nil {
		return err
	}
	return s.change(ctx, u.ID, func(tx *metadb.Tx) error {
		return wantOne("user", name)(tx.Exec(ctx, "UPDATE auth_users SET password_hash = ?, changed_at = ? WHERE id = ?", hash, metadb.Micros(s.now()), u.ID))
	})
}
