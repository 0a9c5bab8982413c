-- Programs that may ask for tokens. kind is service (has a secret, calls for itself) or public (people sign
-- in through it, with PKCE and without a secret). secret_hash is argon2id, empty for public. scopes are
-- separated by spaces, redirect_uris by newlines. Tokens issued before changed_at are void.
CREATE TABLE auth_clients (
    id            TEXT PRIMARY KEY,
    kind          TEXT NOT NULL,
    description   TEXT NOT NULL,
    secret_hash   TEXT NOT NULL,
    scopes        TEXT NOT NULL,
    redirect_uris TEXT NOT NULL,
    created_at    BIGINT NOT NULL,
    changed_at    BIGINT NOT NULL
);

-- People. id is the subject of their tokens and is never used again, name is what they sign in with.
CREATE TABLE auth_users (
    id            TEXT PRIMARY KEY,
    name          TEXT NOT NULL UNIQUE,
    password_hash TEXT NOT NULL,
    scopes        TEXT NOT NULL,
    created_at    BIGINT NOT NULL,
    changed_at    BIGINT NOT NULL
);

-- Keys that tokens are signed with; the newest of those without an end signs. private is sealed with the
-- key file. A key verifies until ends_at, 0 for no end yet.
CREATE TABLE auth_keys (
    id         TEXT PRIMARY KEY,
    public     $BLOB NOT NULL,
    private    $BLOB NOT NULL,
    created_at BIGINT NOT NULL,
    ends_at    BIGINT NOT NULL
);

-- Sign-ins under way. browser_hash binds one to the browser that began it, code_hash is set when the code
-- has been given, used_at when it has been exchanged. family names all tokens that come of it.
CREATE TABLE auth_requests (
    id            TEXT PRIMARY KEY,
    client_id     TEXT NOT NULL,
    redirect_uri  TEXT NOT NULL,
    scopes        TEXT NOT NULL,
    state         TEXT NOT NULL,
    nonce         TEXT NOT NULL,
    challenge     TEXT NOT NULL,
    browser_hash  TEXT NOT NULL,
    subject       TEXT NOT NULL,
    authenticated BIGINT NOT NULL,
    code_hash     TEXT NOT NULL,
    used_at       BIGINT NOT NULL,
    family        TEXT NOT NULL,
    expires_at    BIGINT NOT NULL
);

CREATE INDEX auth_requests_code ON auth_requests (code_hash);

-- Refresh tokens by their SHA-256. One is used once; its use again ends the family.
CREATE TABLE auth_refresh_tokens (
    hash          TEXT PRIMARY KEY,
    family        TEXT NOT NULL,
    client_id     TEXT NOT NULL,
    subject       TEXT NOT NULL,
    scopes        TEXT NOT NULL,
    authenticated BIGINT NOT NULL,
    used_at       BIGINT NOT NULL,
    expires_at    BIGINT NOT NULL
);

CREATE INDEX auth_refresh_tokens_family ON auth_refresh_tokens (family);

-- What is void before its end. kind is token (id is a jti), family, or account (id is a subject or a client,
-- whose tokens issued before the time are void). A row goes when no token that it voids is left.
CREATE TABLE auth_revocations (
    kind       TEXT NOT NULL,
    id         TEXT NOT NULL,
    before     BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (kind, id)
);
