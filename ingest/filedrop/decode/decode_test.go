package decode

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/twmb/avro"
	"github.com/twmb/avro/ocf"

	"github.com/tarn-data/tarn"
)

// read looks at a file and reads it to its end: a line for each record, "LINE: RECORD" or "LINE! REASON".
func read(t testing.TB, name string, data []byte, h Hints, limit int) (Plan, []string, error) {
	t.Helper()
	p, err := Look(Input{Name: name, Size: int64(len(data)), Data: bytes.NewReader(data)}, h, limit)
	if err != nil {
		return p, nil, err
	}
	stored, err := json.Marshal(p) // a plan survives being stored
	if err != nil {
		t.Fatal(err)
	}
	p = Plan{}
	if err := json.Unmarshal(stored, &p); err != nil {
		t.Fatal(err)
	}
	got, err := readBy(p, name, bytes.NewReader(data))
	return p, got, err
}

func readBy(p Plan, name string, data io.Reader) (got []string, err error) {
	r, err := Open(Input{Name: name, Data: data}, p)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	for {
		rec, line, err := r.Next()
		var bad *Reject
		switch {
		case errors.As(err, &bad):
			got = append(got, fmt.Sprintf("%d! %s", line, bad.Detail))
		case err == io.EOF:
			return got, nil
		case err != nil:
			return got, err
		default:
			got = append(got, fmt.Sprintf("%d: %s", line, rec))
		}
	}
}

func TestFormats(t *testing.T) {
	long := strings.Repeat("x", 300)
	for _, c := range []struct {
		name, file, text string
		hints            Hints
		format           Format
		want             []string
	}{
		{"ndjson", "a.ndjson", "{\"a\":1}\n\n {\"a\":2} \r\nbad\n{\"a\":3}", Hints{}, NDJSON,
			[]string{`1: {"a":1}`, `3:  {"a":2} `, `4: bad`, `5: {"a":3}`}},
		{"ndjson under .json", "a.json", "{\"a\":1}\n{\"a\":2}\n", Hints{}, NDJSON, []string{`1: {"a":1}`, `2: {"a":2}`}},
		{"ndjson without a name", "export", "\xef\xbb\xbf{\"a\":1}\n{\"a\":2}\n", Hints{}, NDJSON, []string{`1: {"a":1}`, `2: {"a":2}`}},
		{"ndjson too long", "a.ndjson", "{\"a\":1}\n{\"a\":\"" + long + "\"}\n{\"a\":2}\n", Hints{}, NDJSON,
			[]string{`1: {"a":1}`, `2! the record is over the limit of 200 bytes (record)`, `3: {"a":2}`}},
		{"json array", "a.json", "[{\"a\":1},\n {\"b\":\n[2]} ]", Hints{}, JSON, []string{`1: {"a":1}`, `2: {"b": [2]}`}},
		{"json pretty", "a", "{\n \"a\": \"}\\\"{\"\n}\n{\n}", Hints{}, JSON, []string{`1: {  "a": "}\"{" }`, `2: { }`}},
		{"json with scalars", "a.json", "[1, {\"a\":1}, \"x\", null]", Hints{}, JSON,
			[]string{`1! a record must be a JSON object`, `2: {"a":1}`, `3! a record must be a JSON object`, `4! a record must be a JSON object`}},
		{"json cut short", "a.json", "{\"a\":1} {\"b\":", Hints{Format: JSON}, JSON, []string{`1: {"a":1}`, `2! the file ends within the record`}},
		{"json with a line break in a string", "a.json", "[{\"a\":\"x\ny\"},{\"b\":2}]", Hints{}, JSON, []string{"1: {\"a\":\"x\x01y\"}", `2: {"b":2}`}},
		{"csv", "a.csv", "id,name,ok,zip\n1,Ann,true,007\n-2.5,\"a \"\"b\"\",\nc\",FALSE,\n,\"\",,1e5\n", Hints{}, CSV,
			[]string{`2: {"id":1,"name":"Ann","ok":true,"zip":"007"}`, `3: {"id":-2.5,"name":"a \"b\",\nc","ok":false,"zip":null}`, `5: {"id":null,"name":"","ok":null,"zip":"1e5"}`}},
		{"csv with faults", "a.csv", "a,b\n1,2\n1\nx,y,3\n\"x\"y,2\n3,4\n\"open,5\n6,7\n", Hints{}, CSV,
			[]string{`2: {"a":1,"b":2}`, `3! the row has 1 fields, the file has 2 columns`, `4! the row has 3 fields, the file has 2 columns`,
				`5! text follows the closing quote of a field`, `6: {"a":3,"b":4}`, `7! a quoted field is not closed`, `8: {"a":6,"b":7}`}},
		{"csv with faults and another delimiter", "a.csv", "a;b;c\n1;\"x; y\";2,5\n2;z\n3;;4\n", Hints{}, CSV,
			[]string{`2: {"a":1,"b":"x; y","c":"2,5"}`, `3! the row has 2 fields, the file has 3 columns`, `4: {"a":3,"b":null,"c":"4"}`}},
		{"csv without a header", "a.csv", "1;2,5\r\n3;x\r\n", Hints{}, CSV, []string{`1: {"column0":1,"column1":"2,5"}`, `2: {"column0":3,"column1":"x"}`}},
		{"csv header said", "a.csv", "1,2\n3,4\n", Hints{Header: "true"}, CSV, []string{`2: {"1":3,"2":4}`}},
		{"csv header denied", "a.csv", "a,b\nc,d\n", Hints{Header: "false"}, CSV, []string{`1: {"column0":"a","column1":"b"}`, `2: {"column0":"c","column1":"d"}`}},
		{"csv same names", "a.csv", "a,a,\n1,2,3\n", Hints{Header: "true"}, CSV, []string{`2: {"a":1,"a_2":2,"column2":3}`}},
		{"csv declared", "a.csv", "zip,n\n1,x\n", Hints{Declared: &tarn.Schema{Fields: []tarn.Field{{Name: "zip", Type: tarn.Type{Kind: tarn.String}}, {Name: "n", Type: tarn.Type{Kind: tarn.Long}}}}}, CSV,
			[]string{`2: {"zip":"1","n":"x"}`}},
		{"csv only a header", "a.csv", "a,b\n", Hints{}, CSV, nil},
		{"csv one column", "a.csv", "a\n1\n\n2\n", Hints{}, CSV, []string{`2: {"a":1}`, `4: {"a":2}`}},
		{"csv long delimiter", "a.csv", "a§b\n1§\"x§y\"\n", Hints{Delimiter: "§"}, CSV, []string{`2: {"a":1,"b":"x§y"}`}},
		{"tsv", "a.tsv", "a\tb,c\n1\t2,3\n", Hints{}, CSV, []string{`2: {"a":1,"b,c":"2,3"}`}},
		{"csv by content", "export", "a|b\n1|2\n", Hints{}, CSV, []string{`2: {"a":1,"b":2}`}},
		{"csv too long", "a.csv", "a,b\n1," + long + "\n2,\"" + long + "\"\n3,4\n", Hints{}, CSV,
			[]string{`2! the record is over the limit of 200 bytes (record)`, `3! the record is over the limit of 200 bytes (record)`, `4: {"a":3,"b":"4"}`}},
		{"text", "a.log", "one \"x\"\n\ntwo\ttab\r\n\x01", Hints{}, Text, []string{`1: {"line":"one \"x\""}`, `2: {"line":""}`, `3: {"line":"two\ttab"}`, `4: {"line":"\u0001"}`}},
		{"text not UTF-8", "a.log", "a\nb\xff\nc", Hints{}, Text, []string{`1: {"line":"a"}`, `2! the line is not valid UTF-8`, `3: {"line":"c"}`}},
		{"text said", "a.csv", "a,b\n", Hints{Format: Text}, Text, []string{`1: {"line":"a,b"}`}},
		{"latin-1", "a.csv", "name,n\nM\xfcller,1\n", Hints{Encoding: "latin-1"}, CSV, []string{`2: {"name":"Müller","n":1}`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, got, err := read(t, c.file, []byte(c.text), c.hints, 200)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, got); d != "" || p.Format != c.format {
				t.Errorf("%s\n%s", p.Format, d)
			}
			slowly, err := readBy(p, c.file, iotest.OneByteReader(strings.NewReader(c.text)))
			if d := cmp.Diff(got, slowly); d != "" || err != nil {
				t.Errorf("byte by byte: %v\n%s", err, d)
			}
		})
	}
}

// TestLargeRecords crosses the borders of blocks.
func TestLargeRecords(t *testing.T) {
	var text strings.Builder
	var want []string
	for i := range 40 {
		rec := fmt.Sprintf(`{"i":%d,"s":"%s"}`, i, strings.Repeat("ab,\\n", 20_000*(i%5)))
		text.WriteString(rec + "\n")
		want = append(want, fmt.Sprintf("%d: %s", i+1, rec))
	}
	for _, name := range []string{"a.ndjson", "b.json"} {
		p := Plan{Format: map[string]Format{"a.ndjson": NDJSON, "b.json": JSON}[name], RecordBytes: 1 << 20}
		got, err := readBy(p, name, strings.NewReader(text.String()))
		if d := cmp.Diff(want, got); err != nil || d != "" {
			t.Errorf("%s: %v %.500s", name, err, d)
		}
	}
	var table strings.Builder
	table.WriteString("a,b\n")
	want = nil
	for i := range 30 {
		s := strings.Repeat("line\n", 10_000*(i%4))
		fmt.Fprintf(&table, "%d,\"%s\"\n", i, s)
		want = append(want, fmt.Sprintf(`{"a":%d,"b":%q}`, i, s))
	}
	_, got, err := read(t, "a.csv", []byte(table.String()), Hints{}, 1<<20)
	for i := range got {
		got[i] = got[i][strings.Index(got[i], ": ")+2:]
	}
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("%v %.500s", err, d)
	}
}

func TestCompressed(t *testing.T) {
	text := strings.Repeat("{\"a\":1}\n", 100_000)
	var gz, zs bytes.Buffer
	g := gzip.NewWriter(&gz)
	_, _ = g.Write([]byte(text[:400_000]))
	_ = g.Close()
	g.Reset(&gz) // two members, as cat a.gz b.gz makes them
	_, _ = g.Write([]byte(text[400_000:]))
	_ = g.Close()
	z, _ := zstd.NewWriter(&zs)
	_, _ = z.Write([]byte(text))
	_ = z.Close()
	for name, data := range map[string][]byte{"a.ndjson.gz": gz.Bytes(), "a.json.zst": zs.Bytes(), "noname": zs.Bytes()} {
		p, got, err := read(t, name, data, Hints{}, 0)
		if err != nil || len(got) != 100_000 || got[99_999] != `100000: {"a":1}` || p.Compression == Plain {
			t.Errorf("%s: %v, %d records, %+v", name, err, len(got), p)
		}
		_, got, err = read(t, name, data[:len(data)-10], Hints{}, 0)
		if tarn.CodeOf(err) != tarn.CodeInvalid || !strings.Contains(err.Error(), "cut short") && !strings.Contains(err.Error(), "damaged") {
			t.Errorf("%s cut short: %v after %d records", name, err, len(got))
		}
	}
}

func TestUTF16(t *testing.T) {
	text := "name,n\nMüller 😀,1\n"
	for name, order := range map[string]binary.AppendByteOrder{"little": binary.LittleEndian, "big": binary.BigEndian} {
		data := order.AppendUint16(nil, 0xfeff)
		for _, u := range utf16.Encode([]rune(text)) {
			data = order.AppendUint16(data, u)
		}
		p, got, err := read(t, "a.csv", data, Hints{}, 0)
		if err != nil || len(got) != 1 || got[0] != `2: {"name":"Müller 😀","n":1}` || p.Encoding != "utf-16" {
			t.Errorf("%s: %v %q %+v", name, err, got, p)
		}
		if _, _, err := read(t, "a.csv", data[:len(data)-1], Hints{}, 0); tarn.CodeOf(err) != tarn.CodeInvalid {
			t.Errorf("%s cut within a letter: %v", name, err)
		}
	}
}

// TestRefused lists files that cannot be read at all.
func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		file, data string
		hints      Hints
		want       string
	}{
		"binary":             {"a.csv", "a,b\n\x00\x01", Hints{}, "zero bytes"},
		"not Parquet":        {"a.parquet", "a,b\n", Hints{Format: Parquet}, "not parquet"},
		"Parquet as CSV":     {"a.csv", "PAR1....", Hints{Format: CSV}, "not csv"},
		"not Avro":           {"a.avro", "Obj\x01junk", Hints{}, "damaged"},
		"CSV of nothing":     {"a.csv", "\n\n", Hints{}, "no row"},
		"latin-1 header":     {"a.csv", "M\xfcller,b\n1,2\n", Hints{}, "latin-1"},
		"not gzip after all": {"a.gz", "\x1f\x8bxxxxxxxxxxxxxxxxxxxx", Hints{}, "gzip"},
	} {
		_, _, err := read(t, c.file, []byte(c.data), c.hints, 0)
		if err == nil || !strings.Contains(err.Error(), c.want) || tarn.CodeOf(err) == tarn.CodeInternal {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestAvro(t *testing.T) {
	schema := avro.MustParse(`{"type":"record","name":"u","fields":[
		{"name":"id","type":"long"}, {"name":"name","type":["null","string"]}, {"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}},
		{"name":"day","type":["null",{"type":"int","logicalType":"date"}]}, {"name":"f","type":"double"}, {"name":"tags","type":{"type":"array","items":"string"}},
		{"name":"m","type":{"type":"map","values":"int"}}, {"name":"raw","type":"bytes"}, {"name":"next","type":["null","u"]}]}`)
	at := time.Date(2026, 11, 20, 3, 4, 5, 678000000, time.UTC)
	record := func(id int, next any) map[string]any {
		return map[string]any{"id": int64(id), "name": nil, "at": at, "day": at.Truncate(24 * time.Hour), "f": 1.5, "tags": []any{"x", "y"},
			"m": map[string]any{"b": int32(2), "a": int32(1)}, "raw": []byte{0, 255}, "next": next}
	}
	var b bytes.Buffer
	w, err := ocf.NewWriter(&b, schema, ocf.WithCodec(ocf.SnappyCodec()))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Encode(record(1, record(2, nil))); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	p, got, err := read(t, "a.avro", b.Bytes(), Hints{}, 0)
	const tail = `"at":"2026-11-20T03:04:05.678Z","day":"2026-11-20","f":1.5,"tags":["x","y"],"m":{"a":1,"b":2},"raw":"AP8=","next":`
	want := []string{`1: {"id":1,"name":null,` + tail + `{"id":2,"name":null,` + tail + `null}}`}
	if d := cmp.Diff(want, got); err != nil || d != "" || p.Format != Avro {
		t.Errorf("%v %+v\n%s", err, p, d)
	}
	if _, _, err := read(t, "a.avro", b.Bytes()[:b.Len()-20], Hints{}, 0); tarn.CodeOf(err) != tarn.CodeInvalid {
		t.Errorf("cut short: %v", err)
	}
}

// TestAppendString writes every byte at every place among others, and compares with encoding/json.
func TestAppendString(t *testing.T) {
	for c := range 128 {
		for at := range 20 {
			s := []byte("abcdefghijklmnopqrst")
			s[at] = byte(c)
			var back string
			if err := json.Unmarshal(appendString(nil, s), &back); err != nil || back != string(s) {
				t.Fatalf("%q: %q, %v", s, back, err)
			}
		}
	}
}

// FuzzRead holds for any file: reading ends, gives the same in any portions, and every row of CSV or
// text in UTF-8 is valid JSON on one line.
func FuzzRead(f *testing.F) {
	for _, s := range []string{"a,b\n1,\"2\n\"\n", "[{\"a\":\"\\\\\"},{]", "{\"a\":1}\n\n{\n}", "a;b\r\n\"\"\"\";\r\n", "x\ny\xff", "\xff\xfea\x00", "Obj\x01\x04", "\x1f\x8b\x08", "\"a\n\",b\n1,2\n"} {
		for format := range 6 {
			f.Add([]byte(s), format)
		}
	}
	formats := []Format{Auto, CSV, JSON, NDJSON, Avro, Text}
	f.Fuzz(func(t *testing.T, data []byte, n int) {
		format := formats[uint(n)%uint(len(formats))]
		p, got, err := read(t, "x", data, Hints{Format: format}, 1000)
		if len(p.Columns) > 1000 || p.Format == "" || p.Format == Auto || p.Format == Parquet {
			return
		}
		slowly, again := readBy(p, "x", iotest.HalfReader(bytes.NewReader(data)))
		if d := cmp.Diff(got, slowly); d != "" || (err == nil) != (again == nil) {
			if err != nil && got == nil {
				return // Look refused it
			}
			t.Fatalf("%v, %v\n%s", err, again, d)
		}
		for _, s := range got {
			i := strings.IndexAny(s, ":!")
			if strings.Contains(s, "\n") && s[i] == ':' {
				t.Fatalf("a record has a line break: %q", s)
			}
			if s[i] == ':' && (p.Format == CSV || p.Format == Text) && json.Valid([]byte(strings.ToValidUTF8(s[i+2:], "?"))) == false {
				t.Fatalf("not JSON: %q", s)
			}
		}
	})
}

// endless repeats a text until it has given out so many bytes.
type endless struct {
	text []byte
	left int
	at   int
}

// Read implements io.Reader.
func (e *endless) Read(p []byte) (int, error) {
	if e.left <= 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), e.left)], e.text[e.at:])
	e.at = (e.at + n) % len(e.text)
	e.left -= n
	return n, nil
}

// TestMemory reads files of 100 MB: what is in memory does not grow with them (I8), also when they
// hold nothing but faults.
func TestMemory(t *testing.T) {
	for name, c := range map[string]struct {
		format Format
		text   string
	}{
		"ndjson":        {NDJSON, "{\"a\":1,\"b\":\"" + strings.Repeat("x", 300) + "\"}\n"},
		"json":          {JSON, "{\"a\":1,\n\"b\":\"" + strings.Repeat("x", 300) + "\"}\n"},
		"csv":           {CSV, "1,\"" + strings.Repeat("x", 300) + "\"\n"},
		"text":          {Text, strings.Repeat("x", 300) + "\n"},
		"one line":      {NDJSON, "{\"a\":1}"},
		"one quote":     {CSV, "\"aaaaaaaaaaaaaaaaaaaa\n"},
		"open brackets": {JSON, "{\"a\":["},
		"open lines":    {JSON, "{\"a\":[\n"},
	} {
		t.Run(name, func(t *testing.T) {
			p := Plan{Format: c.format, Delimiter: ",", Columns: []Column{{"a", NumberKind}, {"b", TextKind}}, RecordBytes: 1 << 20}
			r, err := Open(Input{Data: &endless{text: []byte(c.text), left: 100 << 20}}, p)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			var most uint64
			for n := 0; ; n++ {
				_, _, err := r.Next()
				var bad *Reject
				if err != nil && !errors.As(err, &bad) {
					if err != io.EOF {
						t.Fatal(err)
					}
					break
				}
				if n%50_000 == 0 {
					var m runtime.MemStats
					runtime.GC()
					runtime.ReadMemStats(&m)
					most = max(most, m.HeapAlloc)
				}
			}
			if most > 24<<20 {
				t.Errorf("%d MiB", most>>20)
			}
		})
	}
}

// TestCutOff cuts an array anywhere: what came before is read, and the end is missed.
func TestCutOff(t *testing.T) {
	const whole = "[{\"a\":1},\n{\"a\":[2]}]\n"
	for n := range len(whole) - 1 {
		got, err := readBy(Plan{Format: JSON}, "a.json", strings.NewReader(whole[:n]))
		if missed := err != nil && strings.Contains(err.Error(), "the file ends within its array"); missed != (n > 0 && n < len(whole)-1) {
			t.Errorf("%q: %v %v", whole[:n], got, err)
		}
	}
	if got, err := readBy(Plan{Format: JSON}, "a.json", strings.NewReader(whole)); len(got) != 2 || err != nil {
		t.Errorf("%v %v", got, err)
	}
}
