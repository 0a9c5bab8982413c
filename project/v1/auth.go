package v1

import (
	"net/url"
	"strings"

	"github.com/tarn-data/tarn"
)

// Auth says who may call.
type Auth struct {
	Mode      string    `json:"mode" default:"none" enum:"none,embedded,external" example:"embedded" doc:"Who issues the tokens that every request needs. 'none': nobody; everything is open, to this machine only. 'embedded': Tarn itself, to the clients and users of 'tarn auth'. 'external': the OpenID Connect issuer at 'issuer'."`
	Issuer    Issuer    `json:"issuer,omitempty" example:"https://lake.example.com" doc:"'embedded': the URL under which this server is reached, without a path; default its own address. 'external': the URL of the issuer, as its tokens name it."`
	Audience  Label     `json:"audience" default:"tarn" example:"tarn" doc:"The audience that tokens must be for."`
	KeyFile   FilePath  `json:"key_file,omitempty" example:"/etc/tarn/auth.key" doc:"'embedded': the file with the key that seals the signing keys in the metadata database; made when it is missing. Nodes that share a database share it. Default: 'meta/auth.key' in the data folder."`
	TLS       TLS       `json:"tls" doc:"The certificate to serve HTTPS with. Default: plain HTTP."`
	Tokens    Tokens    `json:"tokens" doc:"'embedded': how long tokens live."`
	RateLimit RateLimit `json:"rate_limit" doc:"How much one client may send. Over it, the answer is 429 with 'Retry-After'."`
}

// TLS names the files of a certificate.
type TLS struct {
	Cert FilePath `json:"cert,omitempty" example:"/etc/tarn/cert.pem" doc:"The certificate with its chain, PEM. It is read again when it changes."`
	Key  FilePath `json:"key,omitempty" example:"/etc/tarn/key.pem" doc:"Its private key, PEM."`
}

// Tokens says how long tokens live.
type Tokens struct {
	Access  Duration `json:"access" default:"15m" min:"1m" max:"24h" example:"15m" doc:"An access token."`
	Refresh Duration `json:"refresh" default:"168h" min:"5m" max:"8760h" example:"168h" doc:"A sign-in, while its refresh tokens are used."`
}

// RateLimit bounds the requests of one client.
type RateLimit struct {
	Requests int `json:"requests,omitempty" min:"1" max:"1000000" example:"100" doc:"Requests a second. Default: no bound."`
	Burst    int `json:"burst,omitempty" min:"1" max:"1000000" example:"200" doc:"Requests at once. Default: those of two seconds."`
}

// Issuer is the URL of an issuer of tokens: https, or http to this machine.
type Issuer string

// UnmarshalText implements encoding.TextUnmarshaler.
func (i *Issuer) UnmarshalText(b []byte) error {
	s := string(b)
	fail := func(why string) error {
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: "this is not the URL of an issuer: " + why, Hint: "write it like https://lake.example.com"}
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return fail("it does not begin with https:// and a host")
	case u.User != nil:
		return fail("it holds a user or password")
	case u.RawQuery != "" || u.Fragment != "" || strings.HasSuffix(s, "?") || strings.HasSuffix(s, "#"):
		return fail("it has a query or a fragment")
	}
	*i = Issuer(s)
	return nil
}

// FilePath is the path of a file, relative to the project or absolute.
type FilePath string

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *FilePath) UnmarshalText(b []byte) error {
	if err := checkPath(string(b), "a file", "write it relative to the project, or absolute"); err != nil {
		return err
	}
	*p = FilePath(b)
	return nil
}
