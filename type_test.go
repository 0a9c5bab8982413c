package tarn

import (
	"strings"
	"testing"
)

func field(name string, t Type) Field { return Field{Name: name, Type: t} }

func list(elem Type) Type { return Type{Kind: List, Elem: &Field{Name: "element", Type: elem}} }

func TestParseType(t *testing.T) {
	long, double := Type{Kind: Long}, Type{Kind: Double}
	point := Type{Kind: Struct, Fields: []Field{field("lat", double), field("lon", double)}}
	for _, tt := range []struct {
		in   string
		want Type
		sql  string
	}{
		{"BIGINT", long, "BIGINT"},
		{"  bigint ", long, "BIGINT"},
		{"Int8", long, "BIGINT"},
		{"UINTEGER", long, "BIGINT"},
		{"UBIGINT", Type{Kind: Decimal, Precision: 20}, "DECIMAL(20,0)"},
		{"HUGEINT", double, "DOUBLE"},
		{"tinyint", Type{Kind: Int}, "INTEGER"},
		{"double precision", double, "DOUBLE"},
		{"DOUBLE", double, "DOUBLE"},
		{"real", Type{Kind: Float}, "FLOAT"},
		{"timestamp", Type{Kind: Timestamp}, "TIMESTAMP"},
		{"TIMESTAMP(6)", Type{Kind: Timestamp}, "TIMESTAMP"},
		{"timestamp without time zone", Type{Kind: Timestamp}, "TIMESTAMP"},
		{"timestamp  with\ttime\nzone", Type{Kind: TimestampTZ}, "TIMESTAMP WITH TIME ZONE"},
		{"timestamptz", Type{Kind: TimestampTZ}, "TIMESTAMP WITH TIME ZONE"},
		{"varchar(20)", Type{Kind: String}, "VARCHAR"},
		{"VARCHAR ( 20 )", Type{Kind: String}, "VARCHAR"},
		{"ENUM('a)', 'b''c')", Type{Kind: String}, "VARCHAR"},
		{"enum", Type{Kind: String}, "VARCHAR"},
		{"JSON", Type{Kind: JSON}, "JSON"},
		{"blob", Type{Kind: Binary}, "BLOB"},
		{"DECIMAL", Type{Kind: Decimal, Precision: 18, Scale: 3}, "DECIMAL(18,3)"},
		{"NUMERIC(10)", Type{Kind: Decimal, Precision: 10}, "DECIMAL(10,0)"},
		{"decimal( 38 , 38 )", Type{Kind: Decimal, Precision: 38, Scale: 38}, "DECIMAL(38,38)"},
		{"INTEGER[]", list(Type{Kind: Int}), "INTEGER[]"},
		{"INTEGER[3][]", list(list(Type{Kind: Int})), "INTEGER[][]"},
		{"STRUCT(lat DOUBLE, lon DOUBLE)", point, `STRUCT("lat" DOUBLE, "lon" DOUBLE)`},
		{"row(lat double,lon double)[ ]", list(point), `STRUCT("lat" DOUBLE, "lon" DOUBLE)[]`},
		{`STRUCT("a ""b""" INT, int INT, "timestamp" TIMESTAMP)`,
			Type{Kind: Struct, Fields: []Field{field(`a "b"`, Type{Kind: Int}), field("int", Type{Kind: Int}), field("timestamp", Type{Kind: Timestamp})}},
			`STRUCT("a ""b""" INTEGER, "int" INTEGER, "timestamp" TIMESTAMP)`},
		{"STRUCT(größe DOUBLE)", Type{Kind: Struct, Fields: []Field{field("größe", double)}}, `STRUCT("größe" DOUBLE)`},
		{"MAP(VARCHAR, BIGINT[])", Type{Kind: Map, Key: &Field{Name: "key", Type: Type{Kind: String}, Required: true}, Elem: &Field{Name: "value", Type: list(long)}},
			"MAP(VARCHAR, BIGINT[])"},
	} {
		t.Run(tt.in, func(t *testing.T) {
			got, err := ParseType(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			if !got.Equal(tt.want) {
				t.Errorf("got %#v, want %#v", got, tt.want)
			}
			if got.SQL() != tt.sql || got.String() != tt.sql {
				t.Errorf("SQL %s, want %s", got.SQL(), tt.sql)
			}
		})
	}
}

func TestParseTypeErrors(t *testing.T) {
	for in, want := range map[string]string{
		"":                           "a type is missing at character 1",
		" ":                          "a type is missing at character 2",
		"VARCHR":                     "unknown type VARCHR at character 1",
		"INTERVAL":                   "unknown type INTERVAL",
		"UNION(a INT)":               "unknown type UNION",
		"BIGINT BIGINT":              "unexpected text at character 8",
		"DOUBLE WITH TIME ZONE":      "unexpected text at character 8",
		"TIMESTAMP WITH":             "unexpected text at character 11",
		"TIME WITH TIME ZONE":        "unexpected text at character 6",
		"INTEGER[":                   "] is missing",
		"INTEGER[x]":                 "] is missing",
		"VARCHAR(":                   "the length is missing",
		"VARCHAR()":                  "the length is missing",
		"VARCHAR(abc)":               "the length is missing",
		"VARCHAR(20":                 ") is missing",
		"ENUM(":                      "a quoted value is missing",
		"ENUM('a'":                   ", or ) is missing",
		"ENUM('a":                    "a quoted value does not end",
		"ENUM x)":                    "unexpected text",
		"DECIMAL(0)":                 "the precision must be 1 to 38",
		"DECIMAL(39)":                "the precision must be 1 to 38",
		"DECIMAL(99999999999999999)": "the precision must be 1 to 38",
		"DECIMAL()":                  "the precision must be 1 to 38",
		"DECIMAL(5,6)":               "the scale must be 0 to the precision",
		"DECIMAL(5,-1)":              "the scale must be 0 to the precision",
		"DECIMAL(5,2":                ") is missing",
		"STRUCT":                     "( is missing",
		"STRUCT()":                   "a name is missing",
		"STRUCT(a":                   "a type is missing",
		"STRUCT(a INT":               ", or ) is missing",
		"STRUCT(a INT,)":             "a name is missing",
		"STRUCT(a INT, a INT)":       "the field a stands twice",
		`STRUCT("" INT)`:             "an empty name",
		`STRUCT("a INT)`:             "a quoted name does not end",
		"MAP":                        "( is missing",
		"MAP(VARCHAR)":               ", is missing",
		"MAP(VARCHAR, INT":           ") is missing",
		"\xff":                       "bytes that are not UTF-8 text",
		"STRUCT(\"a\x00\" INT)":      "bytes that are not UTF-8 text",
		strings.Repeat("STRUCT(a ", 40) + "INT" + strings.Repeat(")", 40):   "nesting deeper than 32",
		"INT" + strings.Repeat("[]", 33):                                    "nesting deeper than 32",
		"INT" + strings.Repeat("[]", 1<<20):                                 "nesting deeper than 32",
		strings.Repeat("STRUCT(a ", 20) + "INT" + strings.Repeat(")[]", 20): "nesting deeper than 32",
	} {
		got, err := ParseType(in)
		if err == nil || CodeOf(err) != CodeInvalid || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("ParseType(%.60q) = %v, %v; want %s", in, got, err, want)
		}
	}
	if _, err := ParseType("INT" + strings.Repeat("[]", 32)); err != nil {
		t.Errorf("32 levels: %v", err)
	}
}

func TestTypeEqual(t *testing.T) {
	base := "STRUCT(a INT, b MAP(VARCHAR, DOUBLE[]), c DECIMAL(10,2))"
	a, err := ParseType(base)
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]bool{
		base: true,
		"STRUCT(b MAP(VARCHAR, DOUBLE[]), a INT, c DECIMAL(10,2))":        false,
		"STRUCT(a INT, b MAP(VARCHAR, DOUBLE), c DECIMAL(10,2))":          false,
		"STRUCT(a INT, b MAP(BIGINT, DOUBLE[]), c DECIMAL(10,2))":         false,
		"STRUCT(a INT, b MAP(VARCHAR, DOUBLE[]), c DECIMAL(10,3))":        false,
		"STRUCT(a INT, b MAP(VARCHAR, DOUBLE[]))":                         false,
		"STRUCT(a INT, b MAP(VARCHAR, DOUBLE[]), C DECIMAL(10,2))":        false,
		"STRUCT(a INT, b MAP(VARCHAR, DOUBLE[]), c DECIMAL(10,2), d INT)": false,
		"INT": false,
	} {
		b, err := ParseType(in)
		if err != nil {
			t.Fatal(err)
		}
		if a.Equal(b) != want || b.Equal(a) != want {
			t.Errorf("Equal(%s) is not %v", in, want)
		}
		if (Schema{Fields: a.Fields}).Equal(Schema{Fields: b.Fields}) != want {
			t.Errorf("Schema.Equal(%s) is not %v", in, want)
		}
	}
	b := a
	b.Fields = append([]Field(nil), a.Fields...)
	b.Fields[0].ID, b.Fields[0].Doc, b.Fields[0].Required = 7, "doc", true
	if !a.Equal(b) {
		t.Error("IDs, docs and Required count")
	}
	if list(Type{Kind: Int}).Equal(Type{Kind: List}) || (Type{Kind: List}).Equal(list(Type{Kind: Int})) {
		t.Error("a list without an element equals one with")
	}
}

func TestLookup(t *testing.T) {
	s := Schema{Fields: []Field{field("a", Type{Kind: Struct, Fields: []Field{field("b", Type{Kind: Int})}})}}
	if f := s.Lookup("a"); f != &s.Fields[0] || f.Type.Lookup("b") == nil || f.Type.Lookup("B") != nil || s.Lookup("b") != nil {
		t.Errorf("Lookup: %v", f)
	}
}

func TestQuote(t *testing.T) {
	if got := QuoteIdent(`a"b`); got != `"a""b"` {
		t.Error(got)
	}
	if got := QuoteLiteral(`it's`); got != `'it''s'` {
		t.Error(got)
	}
	if got := (Type{}).SQL(); got != "INVALID" {
		t.Error(got)
	}
}

// What parses writes SQL that parses to an equal type, and writes the same again.
func FuzzParseType(f *testing.F) {
	for _, s := range []string{"BIGINT", "varchar(20)[]", "STRUCT(\"a b\" INT, c MAP(VARCHAR, DECIMAL(10,2)[]))", "timestamp with time zone",
		"ENUM('a)', 'b''c')[3]", "UBIGINT", "ROW(x DOUBLE PRECISION)", "STRUCT(\"a\"\"\" JSON)", "map(int,int", "decimal(38,38)"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		typ, err := ParseType(s)
		if err != nil {
			if CodeOf(err) != CodeInvalid {
				t.Fatalf("code %s", CodeOf(err))
			}
			return
		}
		sql := typ.SQL()
		again, err := ParseType(sql)
		if err != nil {
			t.Fatalf("%q wrote %q: %v", s, sql, err)
		}
		if !typ.Equal(again) || again.SQL() != sql {
			t.Fatalf("%q wrote %q, which reads as %q", s, sql, again.SQL())
		}
	})
}
