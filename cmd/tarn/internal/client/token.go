package client

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tarn-data/tarn"
)

// Credentials are what a client shows to a server. The zero value shows nothing.
type Credentials struct {
	Token  string // an access token; or else
	ID     string // a client, with its
	Secret string
	Scope  string // what to ask for, separated by spaces; "" is all that the client has
	// Endpoint is where the secret is exchanged; "" is where the server says.
	Endpoint string
}

// Token is what an authorization server answers.
type Token struct {
	Access  string `json:"access_token"`
	Type    string `json:"token_type"`
	Seconds int64  `json:"expires_in"`
	Scope   string `json:"scope,omitempty"`
}

// authorize puts a token into a request.
func (c *Client) authorize(ctx context.Context, req *http.Request) error {
	token := c.creds.Token
	if token == "" && c.creds.ID != "" {
		var err error
		if token, err = c.current(ctx); err != nil {
			return err
		}
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return nil
}

// current returns a token for the client's secret that lives a while longer.
func (c *Client) current(ctx context.Context) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token != "" && time.Until(c.ends) > 10*time.Second {
		return c.token, nil
	}
	t, err := c.Exchange(ctx)
	if err != nil {
		return "", err
	}
	c.token, c.ends = t.Access, time.Now().Add(time.Duration(t.Seconds)*time.Second)
	return c.token, nil
}

// Exchange gets a token for the client's secret (RFC 6749, 4.4) from the issuer that the server names.
func (c *Client) Exchange(ctx context.Context) (*Token, error) {
	endpoint, err := c.tokenEndpoint(ctx)
	if err != nil {
		return nil, err
	}
	form := url.Values{"grant_type": {"client_credentials"}}
	if c.creds.Scope != "" {
		form.Set("scope", c.creds.Scope)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(url.QueryEscape(c.creds.ID), url.QueryEscape(c.creds.Secret))
	var answer struct {
		Token
		Error  string `json:"error"`
		Detail string `json:"error_description"`
	}
	status, err := c.ask(ctx, req, &answer)
	if err != nil {
		return nil, err
	}
	if answer.Access == "" {
		why := answer.Detail
		if why == "" {
			why = answer.Error
		}
		return nil, &tarn.Error{Code: tarn.CodeUnauthenticated, Detail: "no token for the client " + strconv.Quote(c.creds.ID) + ": " + why + " (" + strconv.Itoa(status) + ")",
			Hint: "check TARN_CLIENT_ID and TARN_CLIENT_SECRET; tarn auth clients ls shows clients and their scopes"}
	}
	return &answer.Token, nil
}

// tokenEndpoint finds where the server's issuer exchanges secrets (RFC 9728; OpenID Connect Discovery 1.0).
func (c *Client) tokenEndpoint(ctx context.Context) (string, error) {
	if c.creds.Endpoint != "" {
		return c.creds.Endpoint, nil
	}
	var resource struct {
		Issuers []string `json:"authorization_servers"`
	}
	if err := c.getOpen(ctx, c.base+"/.well-known/oauth-protected-resource", &resource); err != nil {
		return "", err
	}
	if len(resource.Issuers) == 0 {
		return "", &tarn.Error{Code: tarn.CodeUnsupported, Detail: c.base + " asks nobody for a token", Hint: "unset TARN_CLIENT_ID"}
	}
	var issuer struct {
		Endpoint string `json:"token_endpoint"`
	}
	if err := c.getOpen(ctx, strings.TrimSuffix(resource.Issuers[0], "/")+"/.well-known/openid-configuration", &issuer); err != nil {
		return "", err
	}
	if !c.mayHaveSecret(issuer.Endpoint) {
		return "", &tarn.Error{Code: tarn.CodeForbidden, Detail: "the secret would be sent without encryption to " + strconv.Quote(issuer.Endpoint), Hint: "serve HTTPS: auth.tls in tarn.yaml"}
	}
	return issuer.Endpoint, nil
}

// mayHaveSecret reports whether a secret may be sent there: by HTTPS, to this machine, or to the server that
// the user has named with http:// himself.
func (c *Client) mayHaveSecret(endpoint string) bool {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" {
		return false
	}
	own, _ := url.Parse(c.base)
	ip := net.ParseIP(u.Hostname())
	return u.Scheme == "https" || u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback() || own != nil && u.Host == own.Host)
}

// getOpen decodes a document that needs no token.
func (c *Client) getOpen(ctx context.Context, url string, v any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	status, err := c.ask(ctx, req, v)
	if err == nil && status == http.StatusNotFound {
		err = &tarn.Error{Code: tarn.CodeUnsupported, Detail: "the server issues no tokens: there is nothing at " + url, Hint: "unset TARN_CLIENT_ID, or write auth: {mode: embedded} into tarn.yaml and start it again"}
	}
	return err
}

func (c *Client) ask(ctx context.Context, req *http.Request, v any) (status int, err error) {
	req.Header.Set("User-Agent", "tarn")
	req.Header.Set("Accept", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, unreachable(ctx, req.URL.Scheme+"://"+req.URL.Host, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && resp.StatusCode != http.StatusNotFound {
		err = json.Unmarshal(body, v)
	}
	if err != nil {
		return resp.StatusCode, &tarn.Error{Code: tarn.CodeUnavailable, Detail: req.URL.Redacted() + " answered " + resp.Status + " and no document", Err: err}
	}
	return resp.StatusCode, nil
}
