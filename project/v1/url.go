package v1

import (
	"fmt"
	"log/slog"
	"net/url"
	"path"
	"regexp"
	"strings"

	"github.com/tarn-data/tarn"
)

// Embedded is the value of an engine that runs inside Tarn and keeps its data in the data folder.
const Embedded = "embedded"

// URL is the address of an engine: embedded, a path, or a URL that may hold credentials. It
// redacts itself (I7): every way of printing or encoding it shows xxxxx for a password, and only
// Reveal gives the address as written. The zero URL is embedded.
type URL struct{ raw string }

// NewURL returns the URL of an address as written in a file, without checking it.
func NewURL(raw string) URL {
	if raw == Embedded {
		raw = ""
	}
	return URL{raw}
}

// IsEmbedded reports whether the engine runs inside Tarn.
func (u URL) IsEmbedded() bool { return u.raw == "" }

// Scheme returns what stands before ://, in lower case, and "" for a path or the embedded engine.
func (u URL) Scheme() string {
	if s, _, ok := strings.Cut(u.raw, "://"); ok {
		return strings.ToLower(s)
	}
	return ""
}

var (
	envRef  = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)
	address = regexp.MustCompile(`,\s*[A-Za-z]+://`) // where the next address of a list begins
	secretQ = regexp.MustCompile(`(?i)([?&][^=&]*(?:password|passwd|token|secret|key|creds|jwt|seed)[^=&]*=)[^&]*`)
)

// Reveal returns the address with every ${NAME} replaced by what lookup gives, for example
// os.LookupEnv. It fails with CodeInvalid when a variable is not set.
func (u URL) Reveal(lookup func(string) (string, bool)) (string, error) {
	if u.raw == "" {
		return Embedded, nil
	}
	missing := ""
	s := envRef.ReplaceAllStringFunc(u.raw, func(ref string) string {
		v, ok := lookup(ref[2 : len(ref)-1])
		if !ok && missing == "" {
			missing = ref
		}
		return v
	})
	if missing != "" {
		return "", &tarn.Error{Code: tarn.CodeInvalid, Detail: "the environment variable " + missing[2:len(missing)-1] + " is not set",
			Hint: "the project names it in an address; set it before starting"}
	}
	return s, nil
}

// String returns the address without its secrets: references to variables stay, passwords do not.
func (u URL) String() string {
	if u.raw == "" {
		return Embedded
	}
	if u.Scheme() == "" {
		return u.raw
	}
	lone := u.Scheme() != "nats" && u.Scheme() != "tls" // a name alone before the @ is a user there, a token here
	var b strings.Builder
	begin := 0
	for _, m := range address.FindAllStringIndex(u.raw, -1) {
		b.WriteString(redact(u.raw[begin:m[0]], lone))
		begin = m[0]
	}
	b.WriteString(redact(u.raw[begin:], lone))
	return b.String()
}

// redact takes the secrets of one address away. Whatever stands before the last @ counts as user
// and password, so that one which was not escaped does not show.
func redact(s string, loneIsUser bool) string {
	begin := strings.Index(s, "://") + len("://")
	if at := strings.LastIndexByte(s, '@'); at >= begin {
		user, password, has := strings.Cut(s[begin:at], ":")
		switch {
		case has && !isRef(password):
			s = s[:begin] + user + ":xxxxx" + s[at:]
		case !has && !isRef(user) && !loneIsUser:
			s = s[:begin] + "xxxxx" + s[at:]
		}
	}
	return secretQ.ReplaceAllString(s, "${1}xxxxx")
}

func isRef(s string) bool { return s != "" && envRef.FindString(s) == s }

// GoString, Format, LogValue and MarshalText all give String.
func (u URL) GoString() string { return u.String() }

// Format implements fmt.Formatter.
func (u URL) Format(f fmt.State, verb rune) {
	if verb == 'q' {
		_, _ = fmt.Fprintf(f, "%q", u.String())
		return
	}
	_, _ = f.Write([]byte(u.String()))
}

// LogValue implements slog.LogValuer.
func (u URL) LogValue() slog.Value { return slog.StringValue(u.String()) }

// MarshalText implements encoding.TextMarshaler.
func (u URL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; it takes any text.
func (u *URL) UnmarshalText(b []byte) error { *u = NewURL(string(b)); return nil }

// replicas is the one option of a stream engine; what a variable holds is checked when it is known.
var replicas = regexp.MustCompile(`^replicas=(?:[1-5]|\$\{[A-Za-z_][A-Za-z0-9_]*\})$`)

// StreamURL addresses the stream engine. After the last address may stand ?replicas=N.
type StreamURL struct{ URL }

// UnmarshalText implements encoding.TextUnmarshaler.
func (u *StreamURL) UnmarshalText(b []byte) error {
	const hint = "write embedded, or nats://HOST:4222 addresses separated by commas"
	s := string(b)
	if s != Embedded {
		addresses, options, has := strings.Cut(s, "?")
		if has && !replicas.MatchString(options) {
			return &tarn.Error{Code: tarn.CodeInvalid, Detail: "this is not the address of a stream engine: the part after ? is not replicas=1 to replicas=5",
				Hint: "write ?replicas=3 once, after the last address"}
		}
		for part := range strings.SplitSeq(addresses, ",") {
			if err := checkURL(strings.TrimSpace(part), "a stream engine", hint, "nats", "tls"); err != nil {
				return err
			}
		}
	}
	u.URL = NewURL(s)
	return nil
}

// MetadataURL addresses the metadata database.
type MetadataURL struct{ URL }

// UnmarshalText implements encoding.TextUnmarshaler.
func (u *MetadataURL) UnmarshalText(b []byte) error {
	const what, hint = "a metadata database", "write embedded, the path of a SQLite file, or postgres://USER@HOST/DATABASE"
	s := string(b)
	var err error
	if strings.Contains(s, "://") {
		err = checkURL(s, what, hint, "postgres", "postgresql")
	} else {
		err = checkPath(s, what, hint)
	}
	if err == nil {
		u.URL = NewURL(s)
	}
	return err
}

// DatabaseURL addresses a database outside of Tarn.
type DatabaseURL struct{ URL }

// UnmarshalText implements encoding.TextUnmarshaler.
func (u *DatabaseURL) UnmarshalText(b []byte) error {
	const what, hint = "a database", "write postgres://USER@HOST/DATABASE, or the path of a SQLite file"
	s := string(b)
	var err error
	switch {
	case s == Embedded:
		err = &tarn.Error{Code: tarn.CodeInvalid, Detail: "there is no embedded database to deliver to", Hint: hint}
	case strings.Contains(s, "://"):
		err = checkURL(s, what, hint, "postgres", "postgresql")
	default:
		err = checkPath(s, what, hint)
	}
	if err == nil {
		u.URL = NewURL(s)
	}
	return err
}

// LakeURL addresses the lake.
type LakeURL struct{ URL }

// UnmarshalText implements encoding.TextUnmarshaler.
func (u *LakeURL) UnmarshalText(b []byte) error {
	const hint = "write embedded, or the path of a folder"
	s := string(b)
	if scheme, _, ok := strings.Cut(s, "://"); ok {
		switch strings.ToLower(scheme) {
		case "s3", "gs", "gcs", "az", "abfs", "abfss":
			return &tarn.Error{Code: tarn.CodeUnsupported, Detail: "a lake in an object store is not available yet", Hint: hint}
		}
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: "this is not a lake", Hint: hint}
	}
	if err := checkPath(s, "a lake", hint); err != nil {
		return err
	}
	u.URL = NewURL(s)
	return nil
}

// checkURL never repeats the address in its error: it may hold a secret (I7).
func checkURL(s, what, hint string, schemes ...string) error {
	fail := func(why string) error {
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: "this is not the address of " + what + ": " + why, Hint: hint}
	}
	scheme, _, ok := strings.Cut(s, "://")
	if !ok {
		return fail("it has no scheme://")
	}
	for _, known := range schemes {
		if strings.EqualFold(scheme, known) {
			u, err := url.Parse(envRef.ReplaceAllString(s, "x"))
			switch {
			case err != nil:
				return fail("the URL is malformed")
			case u.Host == "" && !u.Query().Has("host"):
				return fail("the host is missing")
			}
			return nil
		}
	}
	return fail("it begins with another scheme than " + strings.Join(schemes, ":// or ") + "://")
}

func checkPath(s, what, hint string) error {
	if s == "" || strings.TrimSpace(s) != s || path.Clean(s) == "." || strings.ContainsRune(s, 0) {
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: "this is not the path of " + what, Hint: hint}
	}
	return nil
}
