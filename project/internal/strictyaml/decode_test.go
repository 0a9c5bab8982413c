package strictyaml

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// level is a type with a text form of its own.
type level string

func (l *level) UnmarshalText(b []byte) error {
	if strings.HasPrefix(string(b), "bad") {
		return errors.New("a bad level")
	}
	*l = level(b)
	return nil
}

type model struct {
	Name  string   `json:"name" required:"true" example:"n"`
	Count int      `json:"count" default:"3" min:"1" max:"9"`
	On    bool     `json:"on" default:"true"`
	Level level    `json:"level" default:"low"`
	Kind  string   `json:"kind" enum:"red,green"`
	Tags  []string `json:"tags"`
	Inner inner    `json:"inner"`
	Door  *door    `json:"door"`
	Items []item   `json:"items" shorthand:"key,value"`
	Go    string   // not a part of the model
}

type inner struct {
	Size int `json:"size" default:"7"`
}

type door struct{}

type item struct {
	Key   string `json:"key" required:"true"`
	Value level  `json:"value"`
	Extra bool   `json:"extra"`
}

func decode(src string) (model, *Document, []string) {
	var m model
	doc, faults := Parse([]byte(src))
	if doc != nil {
		faults = doc.Decode(&m)
	}
	var out []string
	for _, f := range faults {
		out = append(out, fmt.Sprintf("%d:%d %s %s", f.Line, f.Col, f.Path, f.Code))
	}
	return m, doc, out
}

func TestDecode(t *testing.T) {
	full := model{Name: "n", Count: 3, On: true, Level: "low", Inner: inner{Size: 7}}
	with := func(change func(*model)) model { m := full; change(&m); return m }
	for _, tt := range []struct {
		name, src string
		want      model
	}{
		{"defaults", "name: n\n", full},
		{"everything", "name: n\ncount: 9\non: false\nlevel: 5\nkind: red\ntags: [a, 'b']\ninner: {size: 0}\ndoor: {}\n",
			with(func(m *model) {
				m.Count, m.On, m.Level, m.Kind, m.Tags, m.Inner.Size, m.Door = 9, false, "5", "red", []string{"a", "b"}, 0, &door{}
			})},
		{"nothing behind a mapping", "name: n\ninner:\ndoor:\n", with(func(m *model) { m.Door = &door{} })},
		{"a list", "name: n\nitems:\n- {key: a, value: x, extra: true}\n- key: b\n", with(func(m *model) { m.Items = []item{{"a", "x", true}, {"b", "", false}} })},
		{"its shorthand", "name: n\nitems: {a: x, b: 1.5}\n", with(func(m *model) { m.Items = []item{{"a", "x", false}, {"b", "1.5", false}} })},
		{"an alias", "name: &x n\nkind: green\ntags: [*x, *x]\n", with(func(m *model) { m.Kind, m.Tags = "green", []string{"n", "n"} })},
		{"an anchor defined twice", "name: n\ntags: [&x a, *x, &x b, *x]\n", with(func(m *model) { m.Tags = []string{"a", "a", "b", "b"} })},
		{"quoted keys", "\"name\": n\n'count': 1\n", with(func(m *model) { m.Count = 1 })},
		{"explicit keys", "? name\n: n\n", full},
		{"blocks", "name: |\n  a\n  b\nkind: >-\n  red\n", with(func(m *model) { m.Name, m.Kind = "a\nb\n", "red" })},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, _, faults := decode(tt.src)
			if faults != nil {
				t.Fatalf("faults %q", faults)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodeFaults(t *testing.T) {
	for src, want := range map[string]string{
		"count: 1":                             "1:1 name missing",
		"name: n\ncount: 10":                   "2:8 count invalid",
		"name: n\ncount: 0":                    "2:8 count invalid",
		"name: n\ncount: 0x1":                  "2:8 count invalid",
		"name: n\ncount: 99999999999999999999": "2:8 count invalid",
		"name: n\ncount: 1.5":                  "2:8 count wrong_type",
		"name: n\ncount: .inf":                 "2:8 count wrong_type",
		"name: n\non: yes":                     "2:5 on wrong_type",
		"name: n\non: 1":                       "2:5 on wrong_type",
		"name: n\nlevel: bad":                  "2:8 level invalid",
		"name: n\nlevel: true":                 "2:8 level wrong_type",
		"name: n\nlevel: [a]":                  "2:8 level wrong_type",
		"name: true":                           "1:7 name wrong_type",
		"name: 1":                              "1:7 name wrong_type",
		"name:":                                "1:7 name missing",
		"name: n\nkind: blue":                  "2:7 kind invalid",
		"name: n\ntags: a":                     "2:7 tags wrong_type",
		"name: n\ntags: {a: b}":                "2:7 tags wrong_type",
		"name: n\ntags: [a, [b], 1]":           "2:11 tags[1] wrong_type|2:16 tags[2] wrong_type",
		"name: n\ninner: {size: a, sise: 1}":   "2:15 inner.size wrong_type|2:18 inner.sise unknown_key",
		"name: n\nname: m\nname: o":            "2:1 name duplicate_key|3:1 name duplicate_key",
		"name: n\nGo: x\nxyz: 1":               "2:1 Go unknown_key|3:1 xyz unknown_key",
		"name: n\nitems: {a: bad, a: x}":       "2:12 items.a invalid|2:17 items.a duplicate_key",
		"name: n\nitems: [{value: x}]":         "2:9 items[0].key missing",
		"name: n\nitems: {a: {b: c}}":          "2:12 items.a wrong_type",
		"name: n\nitems: {\"odd name\": bad}":  "2:21 items[\"odd name\"] invalid",
		"name: n\ntags: *nothing":              "2:7 tags invalid",
		"name: n\ntags: &a [*a]":               "2:10 tags[0] wrong_type",
		"name: n\ntags: &a *a":                 "2:10  syntax",
		"name: !!str n":                        "1:7 name unsupported",
		"name: n\n<<: {count: 1}":              "2:1 [\"<<\"] unsupported",
		"name: n\n1: x":                        "2:1  wrong_type",
		"- name: n":                            "1:1  wrong_type",
		"name: n\n...\nname: m":                "3:1  syntax",
		"name: \"a\\u0007\"":                   "1:7 name encoding",
	} {
		if _, _, got := decode(src); strings.Join(got, "|") != want {
			t.Errorf("%q:\n got %s\nwant %s", src, strings.Join(got, "|"), want)
		}
	}
}

func TestPlaces(t *testing.T) {
	_, doc, faults := decode("name: n\nitems:\n  a: x\n  odd name: y\ntags:\n  - |\n\n      SELECT\n        1\n  - plain\n")
	if faults != nil {
		t.Fatal(faults)
	}
	for path, want := range map[string]string{
		"items[0].value": "3:6 items.a", "items[1].value": `4:13 items["odd name"]`, "items[1].key": `4:3 items["odd name"]`, "tags[1]": "10:5 tags[1]",
		"tags[9].deep": "6:3 tags[9].deep", "items[0].extra": "3:3 items.a.extra", "none.at.all": "1:1 none.at.all",
	} {
		f := doc.Fault(path, "", "", "")
		if got := fmt.Sprintf("%d:%d %s", f.Line, f.Col, f.Path); got != want {
			t.Errorf("%s is at %s, want %s", path, got, want)
		}
	}
	if !doc.Has("tags[0]") || doc.Has("tags[2]") || doc.Has("kind") {
		t.Error("Has")
	}
	for _, tt := range []struct {
		path      string
		line, col int
		want      string
	}{{"tags[0]", 2, 1, "8:7"}, {"tags[0]", 3, 3, "9:9"}, {"tags[1]", 5, 5, "10:5"}, {"gone", 1, 1, "1:1"}} {
		line, col := doc.TextPlace(tt.path, tt.line, tt.col)
		if got := fmt.Sprintf("%d:%d", line, col); got != tt.want {
			t.Errorf("character %d:%d of %s is at %s, want %s", tt.line, tt.col, tt.path, got, tt.want)
		}
	}
}

func TestNearest(t *testing.T) {
	known := []string{"partition_by", "compression", "buffer", "on_schema_change", "table"}
	for in, want := range map[string]string{
		"partitionBy": "partition_by", "partition-by": "partition_by", "partition": "partition_by", "PARTITION_BY": "partition_by", "compresion": "compression",
		"bufer": "buffer", "tabel": "table", "tables": "table", "on_schema": "on_schema_change", "zzz": "", "": "", "x": "", strings.Repeat("x", 100): "",
	} {
		if got := Nearest(in, known); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", in, got, want)
		}
	}
}
