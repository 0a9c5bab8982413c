package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/cmd/tarn/internal/client"
	"github.com/tarn-data/tarn/cmd/tarn/internal/screen"
	"github.com/tarn-data/tarn/engine"
	"github.com/tarn-data/tarn/govern"
	"github.com/tarn-data/tarn/govern/accounts"
	"github.com/tarn-data/tarn/project"
)

// keeper manages the accounts of a project.
type keeper struct {
	app           *app
	project, data string
}

func (a *app) authCommand() *cobra.Command {
	k := &keeper{app: a}
	clients := group(&cobra.Command{Use: "clients", Short: "Programs that may ask for tokens", Example: "  tarn auth clients ls"},
		k.addClient(), k.listClients(), k.removeClient(), k.rotateClient())
	users := group(&cobra.Command{Use: "users", Short: "People who may sign in", Example: "  tarn auth users ls"},
		k.addUser(), k.listUsers(), k.removeUser(), k.setPassword())
	keys := group(&cobra.Command{Use: "keys", Short: "Keys that tokens are signed with", Example: "  tarn auth keys ls"},
		k.listKeys(), k.rotateKeys())
	return group(&cobra.Command{
		Use:   "auth",
		Short: "Clients, users and keys: who may call",
		Long: `Manages who may call a lake whose tarn.yaml says auth: {mode: embedded}, and gets tokens.

Clients, users and keys are kept in the metadata database. These commands work on it themselves, in the
project's folder, whether the server runs or not; it sees a change within a second. Only token asks a
server.`,
		Example: `  tarn auth clients add loader --scope ingest:telemetry
  tarn auth users add ada --scope sql:read --scope twin:read:fleet
  TARN_CLIENT_ID=loader TARN_CLIENT_SECRET=… tarn auth token`,
	}, clients, users, keys, a.tokenCommand())
}

// command adds the flags that all but token have.
func (k *keeper) command(c *cobra.Command) *cobra.Command {
	c.Flags().StringVar(&k.project, "project", ".", "folder of the project")
	c.Flags().StringVar(&k.data, "data", "", "data folder (default: PROJECT/"+engine.DataFolder+")")
	return k.app.jsonFlag(c)
}

// with runs do on the accounts of the project.
func (k *keeper) with(ctx context.Context, do func(*engine.Accounts) error) error {
	open, err := engine.OpenAccounts(ctx, engine.Options{Project: k.project, Data: k.data})
	if err != nil {
		var faults project.Faults
		if errors.As(err, &faults) {
			return faults.In(k.project)
		}
		return err
	}
	defer open.Close()
	if open.Auth.Mode != project.AuthEmbedded {
		k.app.say("note: tarn.yaml does not ask for tokens yet; write auth: {mode: embedded}")
	}
	return do(open)
}

// newSecret is printed once.
type newSecret struct {
	Client string        `json:"client_id"`
	Kind   string        `json:"kind"`
	Secret string        `json:"client_secret,omitempty"`
	Scopes govern.Scopes `json:"scopes,omitempty"`
}

func (k *keeper) printSecret(s newSecret) error {
	if k.app.json {
		return k.app.printJSON(s)
	}
	k.app.pairs("client", s.Client, "secret", s.Secret, "scopes", s.Scopes.String())
	if s.Secret != "" {
		fmt.Fprintln(k.app.errOut, "The secret is shown this once; only its hash is kept.")
	}
	return nil
}

func (k *keeper) addClient() *cobra.Command {
	var in accounts.Client
	var scopes []string
	var public bool
	c := k.command(&cobra.Command{
		Use:   "add NAME",
		Short: "Make a client and print its secret",
		Long: `Makes a client. A service gets a secret, which is printed once, and exchanges it for tokens. A public
client has none: people sign in through it, in a browser, with PKCE.

Scopes are admin, sql:read, metrics:read, ingest:STREAM, twin:read:TWIN and twin:write:TWIN; * stands for
every name. A token has at most the scopes of its client, and of the user who signs in.`,
		Example: `  tarn auth clients add loader --scope ingest:telemetry
  tarn auth clients add console --public --redirect https://lake.example.com/console --scope sql:read`,
		Args: args(1, 1, "one name"),
		RunE: func(c *cobra.Command, args []string) error {
			in.ID, in.Kind, in.Scopes = args[0], accounts.Service, scopes
			if public {
				in.Kind = accounts.Public
			}
			return k.with(c.Context(), func(open *engine.Accounts) error {
				secret, err := open.AddClient(c.Context(), in)
				if err != nil {
					return err
				}
				return k.printSecret(newSecret{in.ID, in.Kind, secret.Reveal(), in.Scopes})
			})
		},
	})
	f := c.Flags()
	f.StringArrayVar(&scopes, "scope", nil, "what it may do; may repeat")
	f.BoolVar(&public, "public", false, "people sign in through it; it has no secret")
	f.StringArrayVar(&in.RedirectURIs, "redirect", nil, "with --public: where people come back to after they signed in; may repeat")
	f.StringVar(&in.Description, "description", "", "what it is, for people")
	return c
}

func (k *keeper) listClients() *cobra.Command {
	return k.command(&cobra.Command{
		Use: "ls", Short: "List the clients", Example: "  tarn auth clients ls --json", Args: args(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			return k.with(c.Context(), func(open *engine.Accounts) error {
				all, err := open.Clients(c.Context())
				if err != nil || k.app.json {
					return errors.Join(err, k.json(err, all))
				}
				var rows [][]string
				for _, v := range all {
					rows = append(rows, []string{v.ID, v.Kind, v.Scopes.String(), v.Changed.Format(time.DateTime), v.Description})
				}
				return k.app.table([]screen.Column{left("client"), left("kind"), left("scopes"), left("changed"), left("description")}, rows, "There are no clients; tarn auth clients add makes one.")
			})
		},
	})
}

// json prints v unless there is an error to print.
func (k *keeper) json(err error, v any) error {
	if err != nil {
		return nil
	}
	return k.app.printJSON(v)
}

// change is a command that changes one named thing and says so.
func (k *keeper) change(use, short, example, done string, do func(context.Context, *engine.Accounts, string) error) *cobra.Command {
	return k.command(&cobra.Command{
		Use: use, Short: short, Example: example, Args: args(1, 1, "one name"),
		RunE: func(c *cobra.Command, args []string) error {
			return k.with(c.Context(), func(open *engine.Accounts) error {
				if err := do(c.Context(), open, args[0]); err != nil {
					return err
				}
				if !k.app.json {
					fmt.Fprintln(k.app.out, args[0], done)
					return nil
				}
				return k.app.printJSON(map[string]string{"name": args[0], "result": done})
			})
		},
	})
}

func (k *keeper) removeClient() *cobra.Command {
	return k.change("rm NAME", "Remove a client; its tokens are void", "  tarn auth clients rm loader", "removed",
		func(ctx context.Context, open *engine.Accounts, name string) error {
			return open.RemoveClient(ctx, name)
		})
}

func (k *keeper) rotateClient() *cobra.Command {
	return k.command(&cobra.Command{
		Use: "rotate NAME", Short: "Give a client a new secret; the old one and its tokens are void", Example: "  tarn auth clients rotate loader", Args: args(1, 1, "one name"),
		RunE: func(c *cobra.Command, args []string) error {
			return k.with(c.Context(), func(open *engine.Accounts) error {
				secret, err := open.RotateClient(c.Context(), args[0])
				if err != nil {
					return err
				}
				return k.printSecret(newSecret{Client: args[0], Kind: accounts.Service, Secret: secret.Reveal()})
			})
		},
	})
}

func (k *keeper) addUser() *cobra.Command {
	var scopes []string
	c := k.change("add NAME", "Let a person sign in; the password is asked for, or read from standard input",
		"  tarn auth users add ada --scope sql:read\n  pass show lake/ada | tarn auth users add ada --scope sql:read", "added",
		func(ctx context.Context, open *engine.Accounts, name string) error {
			password, err := k.password()
			if err != nil {
				return err
			}
			_, err = open.AddUser(ctx, name, password, scopes)
			return err
		})
	c.Flags().StringArrayVar(&scopes, "scope", nil, "what the user may do; may repeat")
	return c
}

func (k *keeper) listUsers() *cobra.Command {
	return k.command(&cobra.Command{
		Use: "ls", Short: "List the users", Example: "  tarn auth users ls --json", Args: args(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			return k.with(c.Context(), func(open *engine.Accounts) error {
				all, err := open.Users(c.Context())
				if err != nil || k.app.json {
					return errors.Join(err, k.json(err, all))
				}
				var rows [][]string
				for _, v := range all {
					rows = append(rows, []string{v.Name, v.Scopes.String(), v.Changed.Format(time.DateTime), v.ID})
				}
				return k.app.table([]screen.Column{left("user"), left("scopes"), left("changed"), left("subject")}, rows, "There are no users; tarn auth users add makes one.")
			})
		},
	})
}

func (k *keeper) removeUser() *cobra.Command {
	return k.change("rm NAME", "Remove a user, whose tokens are void", "  tarn auth users rm ada", "removed",
		func(ctx context.Context, open *engine.Accounts, name string) error { return open.RemoveUser(ctx, name) })
}

func (k *keeper) setPassword() *cobra.Command {
	return k.change("passwd NAME", "Change a password; the user's tokens are void", "  tarn auth users passwd ada", "changed",
		func(ctx context.Context, open *engine.Accounts, name string) error {
			password, err := k.password()
			if err != nil {
				return err
			}
			return open.SetPassword(ctx, name, password)
		})
}

// password asks on a terminal, without showing what is typed, and reads a line elsewhere.
func (k *keeper) password() (accounts.Secret, error) {
	in, ok := k.app.in.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		line, err := bufio.NewReader(io.LimitReader(k.app.in, 4096)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return accounts.Secret{}, err
		}
		return accounts.NewSecret(strings.TrimRight(line, "\r\n")), nil
	}
	ask := func(text string) (string, error) {
		fmt.Fprint(k.app.errOut, text)
		b, err := term.ReadPassword(int(in.Fd()))
		fmt.Fprintln(k.app.errOut)
		return string(b), err
	}
	first, err := ask("Password: ")
	if err != nil {
		return accounts.Secret{}, err
	}
	again, err := ask("Again: ")
	if err == nil && first != again {
		err = &tarn.Error{Code: tarn.CodeInvalid, Detail: "the passwords differ", Hint: "try again"}
	}
	return accounts.NewSecret(first), err
}

func (k *keeper) listKeys() *cobra.Command {
	return k.command(&cobra.Command{
		Use: "ls", Short: "List the keys that sign or still verify", Example: "  tarn auth keys ls", Args: args(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			return k.with(c.Context(), func(open *engine.Accounts) error {
				all, err := open.Keys(c.Context())
				if err != nil || k.app.json {
					return errors.Join(err, k.json(err, all))
				}
				var rows [][]string
				for _, v := range all {
					use := "signs"
					if !v.Signs {
						use = "verifies until " + v.Ends.Format(time.DateTime)
					}
					rows = append(rows, []string{v.ID, v.Algorithm, v.Created.Format(time.DateTime), use})
				}
				return k.app.table([]screen.Column{left("key"), left("algorithm"), left("created"), left("use")}, rows, "There are no keys yet; the first start makes one.")
			})
		},
	})
}

func (k *keeper) rotateKeys() *cobra.Command {
	var discard bool
	c := k.command(&cobra.Command{
		Use: "rotate", Short: "Sign with a new key; tokens signed with the others verify until they end", Example: "  tarn auth keys rotate\n  tarn auth keys rotate --discard", Args: args(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			return k.with(c.Context(), func(open *engine.Accounts) error {
				key, err := open.Rotate(c.Context(), discard)
				if err != nil || k.app.json {
					return errors.Join(err, k.json(err, key))
				}
				fmt.Fprintln(k.app.out, key.ID, "signs from now on")
				return nil
			})
		},
	})
	c.Flags().BoolVar(&discard, "discard", false, "void every token that was issued, after a key became known to others")
	return c
}

// tokenCommand prints a token for the secret of a client.
func (a *app) tokenCommand() *cobra.Command {
	var scopes []string
	c := a.clientFlags(&cobra.Command{
		Use:   "token",
		Short: "Exchange a client's secret for an access token",
		Long: `Prints an access token for the client in TARN_CLIENT_ID and TARN_CLIENT_SECRET, for curl and other
programs. Other tarn commands get one by themselves when these are set.`,
		Example: `  export TARN_CLIENT_ID=loader TARN_CLIENT_SECRET=…
  curl -H "Authorization: Bearer $(tarn auth token)" …
  tarn auth token --scope ingest:telemetry --json`,
		Args: args(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			creds := a.credentials()
			creds.Scope = strings.Join(scopes, " ")
			if creds.ID == "" || creds.Secret == "" {
				return usage(c, "set TARN_CLIENT_ID and TARN_CLIENT_SECRET")
			}
			cl, err := client.New(a.server, creds)
			if err != nil {
				return err
			}
			t, err := cl.Exchange(c.Context())
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(t)
			}
			_, err = fmt.Fprintln(a.out, t.Access)
			return err
		},
	})
	c.Flags().StringArrayVar(&scopes, "scope", nil, "ask for this scope only; may repeat")
	return c
}
