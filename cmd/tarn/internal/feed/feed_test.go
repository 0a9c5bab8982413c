package feed

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"

	"github.com/tarn-data/tarn"
)

// collect returns the records of input as "line: record".
func collect(t testing.TB, r io.Reader, o Options) []string {
	t.Helper()
	var got []string
	err := Read(context.Background(), "f", r, o, func(b Batch) error {
		recs := strings.Split(strings.TrimSuffix(string(b.Body), "\n"), "\n")
		if len(recs) != len(b.Lines) {
			t.Errorf("%d records and %d lines", len(recs), len(b.Lines))
		}
		for i, rec := range recs {
			got = append(got, fmt.Sprintf("%d: %s", b.Lines[i], rec))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestRead(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want []string
	}{
		"empty":               {"", nil},
		"blank":               {" \n\r\n\t", nil},
		"lines":               {"{\"a\":1}\n{\"a\":2}\n", []string{`1: {"a":1}`, `2: {"a":2}`}},
		"no last newline":     {"{\"a\":1}\n{\"a\":2}", []string{`1: {"a":1}`, `2: {"a":2}`}},
		"crlf and empty":      {"{\"a\":1}\r\n\r\n\n  {\"a\":2} \r\n", []string{`1: {"a":1}`, `4: {"a":2}`}},
		"byte order mark":     {"\xef\xbb\xbf{\"a\":1}\n", []string{`1: {"a":1}`}},
		"broken line":         {"{\"a\":1}\n{\"a\":\n{\"a\":3}\n", []string{`1: {"a":1}`, `2: {"a":`, `3: {"a":3}`}},
		"garbage":             {"hello\nworld\n", []string{`1: hello`, `2: world`}},
		"one object":          {`{"a":1}`, []string{`1: {"a":1}`}},
		"pretty":              {"{\n  \"a\": 1\n}\n{\n  \"a\": \"}\\\"{\"\n}", []string{`1: {   "a": 1 }`, `4: {   "a": "}\"{" }`}},
		"concatenated":        {`{"a":1}{"a":2} {"a":3}`, []string{`1: {"a":1}`, `1: {"a":2}`, `1: {"a":3}`}},
		"array":               {"[{\"a\":1},\n {\"a\":[1,\n2]}\n,{\"b\":{}}]\n", []string{`1: {"a":1}`, `2: {"a":[1, 2]}`, `4: {"b":{}}`}},
		"empty array":         {"[]", nil},
		"arrays one by one":   {"[{\"a\":1}]\n[{\"a\":2}]", []string{`1: {"a":1}`, `2: {"a":2}`}},
		"array of no objects": {`[1, "x, ]", null,[2]]`, []string{`1: 1`, `1: "x, ]"`, `1: null`, `1: [2]`}},
		"array not closed":    {`[{"a":1},{"a":`, []string{`1: {"a":1}`, `1: {"a":`}},
		"after the array":     {"[{\"a\":1}] x", []string{`1: {"a":1}`, `1: x`}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, collect(t, strings.NewReader(c.in), Options{})); diff != "" {
				t.Errorf("whole (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.want, collect(t, iotest.OneByteReader(strings.NewReader(c.in)), Options{})); diff != "" {
				t.Errorf("byte by byte (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCompressed(t *testing.T) {
	text := []byte("{\"a\":1}\n{\"a\":2}\n")
	var gz, zs bytes.Buffer
	w := gzip.NewWriter(&gz)
	_, _ = w.Write(text)
	_ = w.Close()
	z, _ := zstd.NewWriter(&zs)
	_, _ = z.Write(text)
	_ = z.Close()
	want := []string{`1: {"a":1}`, `2: {"a":2}`}
	for name, b := range map[string][]byte{"gzip": gz.Bytes(), "zstd": zs.Bytes()} {
		if diff := cmp.Diff(want, collect(t, bytes.NewReader(b), Options{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		err := Read(context.Background(), "f.z", bytes.NewReader(b[:len(b)-5]), Options{}, func(Batch) error { return nil })
		if tarn.CodeOf(err) != tarn.CodeInvalid || !strings.HasPrefix(err.Error(), "f.z: ") {
			t.Errorf("%s cut short: %v", name, err)
		}
	}
}

func TestBatches(t *testing.T) {
	in := strings.Repeat("{\"a\":1}\n", 25)
	var counts []int
	err := Read(context.Background(), "f", strings.NewReader(in), Options{Records: 10}, func(b Batch) error {
		counts = append(counts, len(b.Lines))
		return nil
	})
	if diff := cmp.Diff([]int{10, 10, 5}, counts); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	counts = nil
	err = Read(context.Background(), "f", strings.NewReader(in), Options{Bytes: 16}, func(b Batch) error {
		counts = append(counts, len(b.Body))
		return nil
	})
	if err != nil || len(counts) != 13 || counts[0] != 16 {
		t.Errorf("%v %v", err, counts)
	}
}

// TestLinger checks that what a slow pipe has sent does not wait for what it has not.
func TestLinger(t *testing.T) {
	r, w := io.Pipe()
	got := make(chan Batch)
	done := make(chan error)
	go func() {
		done <- Read(context.Background(), "-", r, Options{Linger: 10 * time.Millisecond}, func(b Batch) error { got <- b; return nil })
	}()
	for range 3 {
		_, _ = io.WriteString(w, "{\"a\":1}\n")
		select {
		case b := <-got:
			if len(b.Lines) != 1 {
				t.Errorf("%d records", len(b.Lines))
			}
		case <-time.After(5 * time.Second):
			t.Fatal("the record waits")
		}
	}
	_ = w.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestTooLong(t *testing.T) {
	r := io.MultiReader(strings.NewReader("{\n\"a\":\""), io.LimitReader(zeros{}, maxRecord+1<<20))
	err := Read(context.Background(), "f", r, Options{}, func(Batch) error { return nil })
	if tarn.CodeOf(err) != tarn.CodeRecordTooLarge || !strings.Contains(err.Error(), "f: line 1") {
		t.Error(err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '0'
	}
	return len(p), nil
}

// TestLayouts writes random objects in each layout and wants the same records back. None is empty:
// {} on the first line means lines, whatever follows.
func TestLayouts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		objects := rapid.SliceOfN(rapid.MapOfN(rapid.String(), rapid.OneOf(rapid.Just[any](nil), rapid.Map(rapid.String(), func(s string) any { return s }), rapid.Map(rapid.SliceOf(rapid.Int32()), func(v []int32) any { return v })), 1, 5), 1, 6).Draw(t, "objects")
		indent := rapid.SampledFrom([]string{"", " ", "\t"}).Draw(t, "indent")
		array := rapid.Bool().Draw(t, "array")
		var in bytes.Buffer
		var want []string
		if array {
			in.WriteByte('[')
		}
		for i, o := range objects {
			b, _ := json.Marshal(o)
			want = append(want, string(b))
			if indent != "" {
				b, _ = json.MarshalIndent(o, "", indent)
			}
			if i > 0 && array {
				in.WriteByte(',')
			}
			in.Write(b)
			in.WriteByte('\n')
		}
		if array {
			in.WriteByte(']')
		}
		var got []string
		err := Read(context.Background(), "f", iotest.HalfReader(&in), Options{}, func(b Batch) error {
			for rec := range strings.Lines(string(b.Body)) {
				var c bytes.Buffer
				if err := json.Compact(&c, []byte(rec)); err != nil {
					t.Fatalf("%q: %v", rec, err)
				}
				got = append(got, c.String())
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

// FuzzSplit holds that chunk borders do not matter, and that no byte but blanks and the brackets
// and commas of an array is lost.
func FuzzSplit(f *testing.F) {
	for _, s := range []string{"{\"a\":1}\n{\"b\":2}", "[{\"a\":\"\\\"]\"}, 1]", "{\n\"a\":[1]}\n x", "\xef\xbb\xbf[[]]"} {
		f.Add([]byte(s), 3)
	}
	f.Fuzz(func(t *testing.T, in []byte, size int) {
		run := func(size int) (recs []string) {
			s := newSplitter(func(rec []byte, line int) { recs = append(recs, fmt.Sprintf("%d: %s", line, rec)) })
			for b := in; len(b) > 0; {
				n := min(max(size, 1), len(b))
				if err := s.write(b[:n]); err != nil {
					t.Fatal(err)
				}
				b = b[n:]
			}
			if err := s.end(); err != nil {
				t.Fatal(err)
			}
			return recs
		}
		whole, parts := run(len(in)), run(size%17)
		if diff := cmp.Diff(whole, parts); diff != "" {
			t.Fatal(diff)
		}
		for _, r := range whole {
			if strings.ContainsAny(r, "\n") {
				t.Fatalf("a record holds a newline: %q", r)
			}
		}
	})
}
