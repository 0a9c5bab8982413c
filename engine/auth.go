package engine

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/govern"
	"github.com/tarn-data/tarn/govern/accounts"
	"github.com/tarn-data/tarn/govern/authority"
	"github.com/tarn-data/tarn/metadb"
	"github.com/tarn-data/tarn/project"
	"github.com/tarn-data/tarn/server"
)

// access is who may call, as the project that the engine started with says; see applySettings for what follows reloads.
type access struct {
	guard     *govern.Guard // nil when nobody is asked for a token
	authority http.Handler  // nil unless Tarn issues the tokens itself
	url       string        // under which this server is reached; "" is not known
	follow    []func(context.Context)
}

// openListener binds the address, as HTTPS when the project names a certificate.
func (e *Engine) openListener(ctx context.Context, p *project.Project) error {
	addr := e.opts.Listen
	if addr == "" {
		addr = p.Server.Listen
	}
	var cert *server.Certificate
	var err error
	if p.Auth.CertFile != "" {
		if cert, err = server.LoadCertificate(p.Path(p.Auth.CertFile), p.Path(p.Auth.CertKeyFile), e.log); err != nil {
			return err
		}
	}
	if e.network, err = server.Listen(ctx, addr, p.Auth.Guarded()); err != nil {
		return err
	}
	e.address = e.network.Addr().String()
	e.scheme = "http"
	if cert != nil {
		e.scheme = "https"
		e.network = cert.Wrap(e.network)
	}
	return nil
}

// openAccess makes what checks callers. The listener is open: its address may be in the issuer's name.
func (e *Engine) openAccess(ctx context.Context, p *project.Project) (access, error) {
	e.warnOpen(p.Auth)
	switch p.Auth.Mode {
	case project.AuthEmbedded:
		return e.embeddedAccess(ctx, p)
	case project.AuthExternal:
		return e.externalAccess(p)
	}
	return access{}, nil
}

// warnOpen says what an operator may not have meant.
func (e *Engine) warnOpen(a project.Auth) {
	ap, err := netip.ParseAddrPort(e.address)
	if err != nil || ap.Addr().Unmap().IsLoopback() {
		return
	}
	if a.Mode != project.AuthEmbedded && a.Mode != project.AuthExternal {
		e.log.Warn("everybody who reaches this address may read and write the lake: HTTPS hides what is sent and asks nobody for a token", "address", e.address, "hint", "write auth: {mode: embedded}")
	} else if a.CertFile == "" {
		e.log.Warn("tokens are sent in the clear, unless a proxy in front speaks HTTPS", "address", e.address, "hint", "name a certificate as auth.tls")
	}
}

func (e *Engine) guardOptions(a project.Auth, issuer string) govern.Options {
	return govern.Options{Issuer: issuer, Audience: a.Audience, PerSecond: float64(a.RequestsPerSec), Burst: a.RequestsBurst, Logger: e.log.With("part", "access")}
}

func (e *Engine) externalAccess(p *project.Project) (access, error) {
	guard := govern.NewGuard(e.guardOptions(p.Auth, p.Auth.Issuer))
	return access{guard: guard}, e.trust(guard, p.Auth)
}

// trust makes a guard take the tokens of an issuer elsewhere, and no others any more.
func (e *Engine) trust(guard *govern.Guard, a project.Auth) error {
	remote, err := govern.NewRemote(a.Issuer, nil, e.log.With("part", "access"), guard.Forget)
	if err != nil {
		return err
	}
	if e.distrust != nil {
		e.distrust()
	}
	ctx, stop := context.WithCancel(e.ctx)
	e.distrust = stop
	e.done.Go(func() { remote.Run(ctx) })
	guard.Trust(a.Issuer, a.Audience, remote)
	return nil
}

func (e *Engine) embeddedAccess(ctx context.Context, p *project.Project) (access, error) {
	log := e.log.With("part", "access")
	issuer, err := e.issuer(p.Auth)
	if err != nil {
		return access{}, err
	}
	store, vault, err := accountsOf(e.db, p, e.opts.Data)
	if err != nil {
		return access{}, err
	}
	keys, err := store.KeyRing(ctx, log)
	if err != nil {
		return access{}, err
	}
	watch, err := store.Watch(ctx, log)
	if err != nil {
		return access{}, err
	}
	o := e.guardOptions(p.Auth, issuer)
	o.Keys, o.Revoked = keys, watch.Revoked
	guard := govern.NewGuard(o)
	keys.OnLost(guard.Forget)
	a, err := authority.New(authority.Options{Store: store, Keys: keys, Vault: vault, Issuer: issuer, Audience: p.Auth.Audience,
		Access: p.Auth.AccessLifetime, Refresh: p.Auth.RefreshLifetime, Name: p.Name, Revoked: watch.Refresh, Logger: log})
	if err != nil {
		return access{}, err
	}
	return access{guard: guard, authority: a, url: issuer, follow: []func(context.Context){keys.Run, watch.Run}}, nil
}

// issuer is the URL of this server: what the project says, or the address that it listens on.
func (e *Engine) issuer(a project.Auth) (string, error) {
	if a.Issuer != "" {
		return a.Issuer, nil
	}
	host, _, err := net.SplitHostPort(e.address)
	if err != nil {
		return "", err
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		return "", &tarn.Error{Code: tarn.CodeInvalid, Detail: "the server listens on every address of this machine, and it is not said under which URL it is reached",
			Hint: "write auth: {issuer: https://HOST} into tarn.yaml"}
	}
	return e.scheme + "://" + e.address, nil
}

// accountsOf returns the accounts in a metadata database, and the vault of the project's key file.
func accountsOf(db *metadb.DB, p *project.Project, data string) (*accounts.Store, *accounts.Vault, error) {
	vault, err := accounts.OpenVault(p.Auth.KeyPath(p, data))
	if err != nil {
		return nil, nil, err
	}
	return accounts.New(db, vault, accounts.Options{TokenLifetime: p.Auth.AccessLifetime}), vault, nil
}

// Accounts are the accounts of a project, for the command line. The project may run meanwhile: it sees a
// change within a second.
type Accounts struct {
	*accounts.Store
	Auth project.Auth
	db   *metadb.DB
}

// OpenAccounts opens the accounts of the project and data folder that opts name; it starts nothing else.
// CodeUnsupported says that the project leaves the accounts to an issuer elsewhere.
func OpenAccounts(ctx context.Context, opts Options) (*Accounts, error) {
	e, p, err := offline(opts)
	if err != nil {
		return nil, err
	}
	if p.Auth.Mode == project.AuthExternal {
		return nil, &tarn.Error{Code: tarn.CodeUnsupported, Detail: "the accounts of this project are kept by the issuer " + p.Auth.Issuer, Hint: "manage clients and users there"}
	}
	db, err := e.openMetadata(ctx, p)
	if err != nil {
		return nil, err
	}
	store, _, err := accountsOf(db, p, e.opts.Data)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &Accounts{Store: store, Auth: p.Auth, db: db}, nil
}

// Close closes the metadata database.
func (a *Accounts) Close() error { return a.db.Close() }

// pipelineStream returns the stream of a pipeline that runs.
func (e *Engine) pipelineStream(name string) (string, bool) {
	p := e.running.Load().byName[name]
	if p == nil {
		return "", false
	}
	return p.spec.Stream.Name, true
}
