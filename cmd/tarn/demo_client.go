package main

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/cmd/tarn/internal/client"
	"github.com/tarn-data/tarn/engine"
	"github.com/tarn-data/tarn/govern"
	"github.com/tarn-data/tarn/govern/accounts"
	"github.com/tarn-data/tarn/project"
)

// demoClientPrefix begins the names of the clients that demos make for themselves.
const demoClientPrefix = "demo-load-"

// demoCredentials returns what the demo shows to its own server, which is at address. Where Tarn issues the tokens, that is a
// client made for this run, which release removes; where somebody else does, the client that the
// environment names; and nothing where nobody is asked.
func (a *app) demoCredentials(ctx context.Context, address, dir, data string) (creds client.Credentials, release func() error, err error) {
	release = func() error { return nil }
	open, err := engine.OpenAccounts(ctx, engine.Options{Project: dir, Data: data})
	if tarn.CodeOf(err) == tarn.CodeUnsupported { // an issuer elsewhere
		if creds = a.credentials(); creds != (client.Credentials{}) {
			return creds, release, nil
		}
		return creds, release, &tarn.Error{Code: tarn.CodeUnauthenticated, Detail: "the project asks for tokens of another issuer",
			Hint: "set TARN_CLIENT_ID and TARN_CLIENT_SECRET, or TARN_TOKEN, to a client with the scopes " + demoScopes.String()}
	}
	if err != nil {
		return creds, release, err
	}
	if open.Auth.Mode != project.AuthEmbedded {
		return creds, release, open.Close()
	}
	creds.Endpoint = address + "/oauth/token" // the issuer's name may lead to a proxy
	creds.ID = demoClientPrefix + strconv.FormatInt(time.Now().UnixNano(), 36)
	if err := addDemoClient(ctx, open, &creds); err != nil {
		return creds, release, errors.Join(err, open.Close())
	}
	release = func() error { // ctx has ended by then
		return errors.Join(open.RemoveClient(context.WithoutCancel(ctx), creds.ID), open.Close())
	}
	return creds, release, nil
}

var demoScopes = govern.Scopes{govern.ScopeIngest + "*", govern.ScopeTwinRead + demoTwin, govern.ScopeSQLRead}

// addDemoClient makes the client, and removes those of demos that were killed.
func addDemoClient(ctx context.Context, open *engine.Accounts, creds *client.Credentials) error {
	all, err := open.Clients(ctx)
	if err != nil {
		return err
	}
	for _, c := range all {
		if strings.HasPrefix(c.ID, demoClientPrefix) {
			if err := open.RemoveClient(ctx, c.ID); err != nil {
				return err
			}
		}
	}
	secret, err := open.AddClient(ctx, accounts.Client{ID: creds.ID, Kind: accounts.Service, Scopes: demoScopes, Description: "the load of tarn demo"})
	creds.Secret = secret.Reveal()
	return err
}
