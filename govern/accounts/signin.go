package accounts

import (
	"context"
	"crypto/subtle"
	"database/sql"
	"errors"
	"time"

	"github.com/tarn-data/tarn/govern"
	"github.com/tarn-data/tarn/metadb"
)

// SignInTime is how long a sign-in may take, from its begin to the exchange of its code.
const SignInTime = 10 * time.Minute

// codeTime is how long a code may wait for its exchange.
const codeTime = time.Minute

// ErrUsed says that a code or refresh token was used before, or is not known.
var ErrUsed = errors.New("accounts: used before, or not known")

// SignInRequest is a sign-in under way: what a program asked for, and what has come of it.
type SignInRequest struct {
	ID          string
	Client      string
	RedirectURI string
	Scopes      govern.Scopes // asked for until Subject is set, granted then
	State       string
	Nonce       string
	Challenge   string // of PKCE, S256
	BrowserHash string // Digest of what the browser keeps
	Subject     string // "" until the user has signed in
	At          time.Time
	Family      string

	used bool
}

// BeginSignIn stores a new sign-in and gives it an id.
func (s *Store) BeginSignIn(ctx context.Context, q *SignInRequest) error {
	q.ID, q.Family = RandomText(), RandomText()
	_, err := s.db.Exec(ctx, `INSERT INTO auth_requests (id, client_id, redirect_uri, scopes, state, nonce, challenge, browser_hash, subject, authenticated, code_hash, used_at, family, expires_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, '', 0, '', 0, ?, ?)`,
		q.ID, q.Client, q.RedirectURI, q.Scopes.String(), q.State, q.Nonce, q.Challenge, q.BrowserHash, q.Family, metadb.Micros(s.now().Add(SignInTime)))
	return err
}

// SignInByID returns a sign-in whose code has not been given, or ErrUsed.
func (s *Store) SignInByID(ctx context.Context, id string) (*SignInRequest, error) {
	return s.signIn(ctx, "id = ? AND code_hash = ''", id)
}

func (s *Store) signIn(ctx context.Context, where, value string) (*SignInRequest, error) {
	var q SignInRequest
	var scopes string
	var at, used int64
	err := s.db.QueryRow(ctx, "SELECT id, client_id, redirect_uri, scopes, state, nonce, challenge, browser_hash, subject, authenticated, family, used_at FROM auth_requests WHERE "+where+" AND expires_at > ?",
		value, metadb.Micros(s.now())).Scan(&q.ID, &q.Client, &q.RedirectURI, &scopes, &q.State, &q.Nonce, &q.Challenge, &q.BrowserHash, &q.Subject, &at, &q.Family, &used)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, ErrUsed
	}
	q.Scopes, q.At, q.used = govern.ParseScopes(scopes), metadb.Time(at), used != 0
	return &q, err
}

// OfBrowser reports whether the browser that keeps secret began the sign-in. Otherwise somebody could begin
// one, have another person finish it, and take the code.
func (q *SignInRequest) OfBrowser(secret string) bool {
	return secret != "" && subtle.ConstantTimeCompare([]byte(Digest(secret)), []byte(q.BrowserHash)) == 1
}

// FinishSignIn notes who has signed in, and grants what was asked for within the scopes of client and user.
func (s *Store) FinishSignIn(ctx context.Context, q *SignInRequest, c *Client, u *User) error {
	granted := q.Scopes.Within(c.Scopes).Within(u.Scopes)
	n, err := s.db.Exec(ctx, "UPDATE auth_requests SET subject = ?, authenticated = ?, scopes = ? WHERE id = ? AND subject = '' AND code_hash = ''", u.ID, metadb.Micros(s.now()), granted.String(), q.ID)
	if err == nil && n == 0 {
		err = ErrUsed
	}
	return err
}

// SaveCode stores the code of a sign-in; from now on only the code leads to it.
func (s *Store) SaveCode(ctx context.Context, id, code string) error {
	n, err := s.db.Exec(ctx, "UPDATE auth_requests SET code_hash = ?, expires_at = ? WHERE id = ? AND subject <> '' AND code_hash = ''", Digest(code), metadb.Micros(s.now().Add(codeTime)), id)
	if err == nil && n == 0 {
		err = ErrUsed
	}
	return err
}

// SignInByCode returns the sign-in that a code belongs to. A code that comes a second time is known to
// somebody else: everything that came of it is voided (RFC 6749, 4.1.2), and the answer is ErrUsed.
func (s *Store) SignInByCode(ctx context.Context, code string) (*SignInRequest, error) {
	q, err := s.signIn(ctx, "code_hash = ?", Digest(code))
	if err != nil || !q.used {
		return q, err
	}
	return nil, errors.Join(ErrUsed, s.RevokeFamily(ctx, q.Family))
}

// UseCode marks the code of a sign-in as exchanged. Of two at once, one gets ErrUsed. The row stays as long as
// access tokens may live, so that a later replay is noticed.
func (s *Store) UseCode(ctx context.Context, id string) error {
	n, err := s.db.Exec(ctx, "UPDATE auth_requests SET used_at = ?, expires_at = ? WHERE id = ? AND used_at = 0 AND code_hash <> '' AND expires_at > ?",
		metadb.Micros(s.now()), metadb.Micros(s.now().Add(s.lifetime)), id, metadb.Micros(s.now()))
	if err == nil && n == 0 {
		err = ErrUsed
	}
	return err
}

// Refresh is a refresh token as stored.
type Refresh struct {
	Family  string
	Client  string
	Subject string
	Scopes  govern.Scopes
	At      time.Time // when the user signed in
	Expires time.Time

	used bool
}

// AddRefresh stores a refresh token and returns it.
func (s *Store) AddRefresh(ctx context.Context, f Refresh) (string, error) {
	var token string
	err := s.db.Tx(ctx, func(tx *metadb.Tx) (err error) {
		token, err = addRefresh(ctx, tx, f)
		return err
	})
	return token, err
}

func addRefresh(ctx context.Context, tx *metadb.Tx, f Refresh) (string, error) {
	token := RandomText()
	_, err := tx.Exec(ctx, "INSERT INTO auth_refresh_tokens (hash, family, client_id, subject, scopes, authenticated, used_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, 0, ?)",
		Digest(token), f.Family, f.Client, f.Subject, f.Scopes.String(), metadb.Micros(f.At), metadb.Micros(f.Expires))
	return token, err
}

// RefreshByToken returns what a refresh token stands for. One that was used before has been stolen from one
// of two: its family is voided (RFC 9700, 4.14.2), and the answer is ErrUsed.
func (s *Store) RefreshByToken(ctx context.Context, token string) (*Refresh, error) {
	f, err := s.refresh(ctx, token)
	if err != nil || !f.used {
		return f, err
	}
	return nil, errors.Join(ErrUsed, s.RevokeFamily(ctx, f.Family))
}

func (s *Store) refresh(ctx context.Context, token string) (*Refresh, error) {
	var f Refresh
	var scopes string
	var at, used, expires int64
	err := s.db.QueryRow(ctx, "SELECT family, client_id, subject, scopes, authenticated, used_at, expires_at FROM auth_refresh_tokens WHERE hash = ? AND expires_at > ?", Digest(token), metadb.Micros(s.now())).
		Scan(&f.Family, &f.Client, &f.Subject, &scopes, &at, &used, &expires)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, ErrUsed
	}
	f.Scopes, f.At, f.Expires, f.used = govern.ParseScopes(scopes), metadb.Time(at), metadb.Time(expires), used != 0
	return &f, err
}

// RotateRefresh marks a refresh token as used and stores the next one of its family, which ends when the first
// would have. Of two at once, one gets ErrUsed.
func (s *Store) RotateRefresh(ctx context.Context, token string) (next string, err error) {
	f, err := s.RefreshByToken(ctx, token)
	if err != nil {
		return "", err
	}
	err = s.db.Tx(ctx, func(tx *metadb.Tx) error {
		n, err := tx.Exec(ctx, "UPDATE auth_refresh_tokens SET used_at = ? WHERE hash = ? AND used_at = 0", metadb.Micros(s.now()), Digest(token))
		if err != nil {
			return err
		}
		if n == 0 {
			return ErrUsed
		}
		next, err = addRefresh(ctx, tx, *f)
		return err
	})
	if errors.Is(err, ErrUsed) {
		err = errors.Join(err, s.RevokeFamily(ctx, f.Family))
	}
	return next, err
}

// Owner returns the client and family of a refresh token, or ErrUsed; a used one too, so that it can be revoked.
func (s *Store) Owner(ctx context.Context, token string) (*Refresh, error) {
	return s.refresh(ctx, token)
}

// ClientOfToken returns the client through which a user got the access token of that id, "" when it is not
// known.
func (s *Store) ClientOfToken(ctx context.Context, tokenID string) (string, error) {
	var client string
	family := familyOf(tokenID)
	if family == "" {
		return "", nil
	}
	err := s.db.QueryRow(ctx, "SELECT client_id FROM auth_requests WHERE family = ? UNION SELECT client_id FROM auth_refresh_tokens WHERE family = ?", family, family).Scan(&client)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return client, err
}
