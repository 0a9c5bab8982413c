package v1

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/tarn-data/tarn"
)

// No way of printing or encoding an address shows its secrets (I7).
func TestURLRedacts(t *testing.T) {
	for in, want := range map[string]string{
		"embedded":                 "embedded",
		"/srv/lake":                "/srv/lake",
		"meta@home/tarn.db":        "meta@home/tarn.db",
		"nats://a:4222":            "nats://a:4222",
		"nats://me:hunter2@a:4222": "nats://me:xxxxx@a:4222",
		"nats://hunter2@a:4222":    "nats://xxxxx@a:4222",
		"nats://me:hunter2@a,nats://me:hunter2@b":  "nats://me:xxxxx@a,nats://me:xxxxx@b",
		"nats://hunter2@a, tls://hunter2@b":        "nats://xxxxx@a, tls://xxxxx@b",
		"nats://a,tls://b":                         "nats://a,tls://b",
		"postgres://me@db/x":                       "postgres://me@db/x",
		"postgres://me:hunter2@db/x":               "postgres://me:xxxxx@db/x",
		"postgres://me:hunter2/hunter2@db/x":       "postgres://me:xxxxx@db/x",
		"postgres://me:hunter2@hunter2@db/x":       "postgres://me:xxxxx@db/x",
		"postgres://me:hunter2,hunter2@db/x":       "postgres://me:xxxxx@db/x",
		"postgres://me:${PW}@db/x":                 "postgres://me:${PW}@db/x",
		"postgres://me:${PW}hunter2@db/x":          "postgres://me:xxxxx@db/x",
		"postgres://${USER}:${PW}@db/x":            "postgres://${USER}:${PW}@db/x",
		"postgres://db/x?user=me&password=hunter2": "postgres://db/x?user=me&password=xxxxx",
		"postgres://db/x?sslpassword=hunter2&a=b":  "postgres://db/x?sslpassword=xxxxx&a=b",
		"postgres://db/x?sslmode=require":          "postgres://db/x?sslmode=require",
	} {
		u := NewURL(in)
		if u.String() != want {
			t.Errorf("%s shows as %s, want %s", in, u, want)
		}
		var log bytes.Buffer
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "url", u, "struct", Engines{Stream: StreamURL{u}})
		js, err := json.Marshal(map[string]any{"u": u, "e": Engines{Metadata: MetadataURL{u}}})
		if err != nil {
			t.Fatal(err)
		}
		shown := fmt.Sprintf("%v %+v %#v %s %q %x %d %v %#v %s", u, u, u, u, u, u, u, &u, struct{ U URL }{u}, LakeURL{u}) + log.String() + string(js)
		if strings.Contains(shown, "hunter2") || strings.Contains(shown, fmt.Sprintf("%x", "hunter2")) {
			t.Errorf("%s leaks: %s", in, shown)
		}
		if got, err := u.Reveal(func(string) (string, bool) { return "value", true }); err != nil || got != strings.NewReplacer("${PW}", "value", "${USER}", "value").Replace(in) {
			t.Errorf("%s reveals %s, %v", in, got, err)
		}
	}
	if _, err := NewURL("nats://${TARN_NOT_SET}@a").Reveal(func(string) (string, bool) { return "", false }); tarn.CodeOf(err) != tarn.CodeInvalid || !strings.Contains(err.Error(), "TARN_NOT_SET") {
		t.Errorf("an unset variable: %v", err)
	}
}

func TestEngineURLs(t *testing.T) {
	type unmarshaler interface{ UnmarshalText([]byte) error }
	for _, tt := range []struct {
		into unmarshaler
		good []string
		bad  []string
	}{
		{&StreamURL{}, []string{"embedded", "nats://a", "nats://a:4222, nats://b", "TLS://a", "nats://${HOST}:4222", "nats://a?replicas=1", "nats://a,nats://u:p@b?replicas=5", "nats://a?replicas=${N}"},
			[]string{"", "nats", "nats://", "kafka://a", "nats://a,", "nats://a,b", "/path", "nats://a b",
				"nats://a?", "nats://a?replicas=0", "nats://a?replicas=6", "nats://a?replicas=", "nats://a?replica=3", "nats://a?replicas=3,nats://b", "nats://a?replicas=3&x=u:p"}},
		{&MetadataURL{}, []string{"embedded", "meta.db", "/var/lib/tarn/meta.db", "postgres://db/x", "postgresql://u:p@db:5432/x?sslmode=require", "postgres:///x?host=/run"},
			[]string{"", ".", " meta.db", "mysql://db", "postgres://", "postgres://u:p@h:port/db", "a\x00b"}},
		{&LakeURL{}, []string{"embedded", "lake", "/srv/lake"}, []string{"", "s3://bucket", "ftp://x"}},
	} {
		for _, s := range tt.good {
			if err := tt.into.UnmarshalText([]byte(s)); err != nil {
				t.Errorf("%T %q: %v", tt.into, s, err)
			}
		}
		for _, s := range tt.bad {
			if err := tt.into.UnmarshalText([]byte(s)); err == nil || strings.Contains(err.Error(), "u:p") {
				t.Errorf("%T %q: %v", tt.into, s, err)
			}
		}
	}
}

func TestSQLInline(t *testing.T) {
	for in, want := range map[string]bool{
		"SELECT 1": true, "select\n*": true, "FROM records": true, "WITH a AS (SELECT 1) SELECT 1": true, "(SELECT 1)": true, "SELECT(1)": true, "SELECT* FROM records": true,
		"-- c\nSELECT 1": true, "/* c */ SELECT 1": true, "VALUES (1)": true,
		"sql/a.sql": false, "select.sql": false, "from": false, "a.sql": false, "": false, "selection of x.sql": false,
	} {
		if got := SQL(in).Inline(); got != want {
			t.Errorf("Inline(%q) = %v", in, got)
		}
	}
}

func TestNames(t *testing.T) {
	for in, want := range map[string]string{
		"fleet": "", "a_1": "", strings.Repeat("a", 63): "",
		strings.Repeat("a", 64): "at most 63", "": "is not a name", "1a": "is not a name", "My Fleet": "write my_fleet", "a-b": "write a_b", "ü": "begins with a-z", "a\n": "is not a name",
	} {
		var n Name
		err := n.UnmarshalText([]byte(in))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", in, err, want)
		}
	}
}
