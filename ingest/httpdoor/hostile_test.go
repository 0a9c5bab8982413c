package httpdoor_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/record"
)

// hostile is one request of the corpus and what it must get. The streams have the limits of open:
// records of 1,000 bytes, bodies of 10,000, depth 8.
type hostile struct {
	name     string
	stream   string // "" means events
	query    string
	header   http.Header
	body     string
	status   int
	code     tarn.Code // of a refusal
	detail   string    // part of its detail
	accepted int
	rejected string // "index:code …" of the rejected records
}

func h(kv ...string) http.Header {
	m := http.Header{}
	for i := 0; i < len(kv); i += 2 {
		m.Add(kv[i], kv[i+1])
	}
	return m
}

func pad(n int) string { return strings.Repeat("x", n) }

func bomb(n int64) string {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
	_, _ = io.CopyN(w, spaces{}, n)
	_ = w.Close()
	return b.String()
}

type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func zstdBomb(n int, sized bool) string {
	if sized {
		enc, _ := zstd.NewWriter(nil)
		return string(enc.EncodeAll(bytes.Repeat([]byte{' '}, n), nil))
	}
	return string(zstded(bytes.Repeat([]byte{' '}, n), false))
}

func corpus() []hostile {
	nd := "application/x-ndjson"
	return []hostile{
		// Layouts.
		{name: "object", body: `{"a":1}`, status: 200, accepted: 1},
		{name: "pretty object", body: "{\n  \"a\": [1,\n 2]\n}\n", status: 200, accepted: 1},
		{name: "pretty objects one after the other", body: "{\n\"a\": 1\n}\n{\n\"a\": 2\n}", status: 200, accepted: 2},
		{name: "array", header: h("Content-Type", "application/json"), body: `[{"a":1}, {"a":2}]`, status: 200, accepted: 2},
		{name: "lines", header: h("Content-Type", nd), body: "{\"a\":1}\n{\"a\":2}\n", status: 200, accepted: 2},
		{name: "no last newline", header: h("Content-Type", nd), body: "{\"a\":1}\n{\"a\":2}", status: 200, accepted: 2},
		{name: "CRLF", header: h("Content-Type", nd), body: "{\"a\":1}\r\n{\"a\":2}\r\n", status: 200, accepted: 2},
		{name: "empty lines", header: h("Content-Type", nd), body: "\n\n{\"a\":1}\n \t\n{\"a\":2}\n\n", status: 200, accepted: 2},
		{name: "byte order mark", body: "\xef\xbb\xbf{\"a\":1}\n", status: 200, accepted: 1},
		{name: "duplicate keys", body: `{"a":1,"a":2}`, status: 200, accepted: 1},
		{name: "huge numbers", body: `{"a":1e999,"b":` + strings.Repeat("9", 400) + `}`, status: 200, accepted: 1},
		{name: "empty object", body: `{}`, status: 200, accepted: 1},
		{name: "a broken line among good ones", header: h("Content-Type", nd), body: "{\"a\":1}\n{\"a\":\n{\"a\":3}\n", status: 200, accepted: 2, rejected: "1:invalid_json"},
		{name: "a scalar among objects", header: h("Content-Type", nd), body: "{\"a\":1}\n7\n", status: 200, accepted: 1, rejected: "1:invalid_json"},
		{name: "a record over its limit among others", header: h("Content-Type", nd), body: "{\"a\":1}\n{\"a\":\"" + pad(2000) + "\"}\n", status: 200, accepted: 1, rejected: "1:record_too_large"},
		{name: "too deep among others", body: "{\"a\":1}\n{\"a\":" + strings.Repeat("[", 20) + strings.Repeat("]", 20) + "}\n", status: 200, accepted: 1, rejected: "1:invalid_json"},
		{name: "invalid UTF-8 among others", body: "{\"a\":1}\n{\"a\":\"\xff\"}\n", status: 200, accepted: 1, rejected: "1:invalid_json"},
		{name: "half a surrogate pair", body: "{\"a\":\"\\ud800\"}\n{\"a\":1}\n", status: 200, accepted: 1, rejected: "0:invalid_json"},
		{name: "array that breaks off", body: `[{"a":1},{"a":`, status: 200, accepted: 1, rejected: "1:invalid_json"},

		// Nothing acceptable.
		{name: "empty body", status: 422, code: tarn.CodeInvalidJSON, detail: "no records"},
		{name: "blank body", header: h("Content-Type", nd), body: " \n\r\n", status: 422, code: tarn.CodeInvalidJSON, detail: "no records"},
		{name: "empty array", body: "[]", status: 422, code: tarn.CodeInvalidJSON, detail: "no records"},
		{name: "scalar", header: h("Content-Type", "application/json"), body: "42", status: 422, code: tarn.CodeInvalidJSON, detail: "object", rejected: "0:invalid_json"},
		{name: "garbage", header: h("Content-Type", nd), body: "hello\nworld\n", status: 422, code: tarn.CodeInvalidJSON, detail: "none of the 2 records", rejected: "0:invalid_json 1:invalid_json"},
		{name: "one record over its limit", body: `{"a":"` + pad(2000) + `"}`, status: 413, code: tarn.CodeRecordTooLarge, detail: "1000"},
		{name: "array where lines are wanted", header: h("Content-Type", nd), body: `[{"a":1}]`, status: 422, code: tarn.CodeInvalidJSON},
		{name: "UTF-16", header: h("Content-Type", "application/json"), body: "\xff\xfe{\x00}\x00", status: 422, code: tarn.CodeInvalidJSON},

		// Limits and memory.
		{name: "body over its limit", body: pad(10_001), status: 413, code: tarn.CodeTooLarge, detail: "10000 bytes"},
		{name: "body at its limit", header: h("Content-Type", nd), body: strings.Repeat("{\"a\":1234}\n", 909) + "\n", status: 200, accepted: 909},
		{name: "gzip bomb", header: h("Content-Encoding", "gzip"), body: bomb(8 << 20), status: 413, code: tarn.CodeTooLarge, detail: "10000 bytes"},
		{name: "gzip bomb that lies about its size", header: h("Content-Encoding", "gzip"), body: lie(bomb(5<<20), 100), status: 413, code: tarn.CodeTooLarge},
		{name: "gzip that claims four gigabytes", header: h("Content-Encoding", "gzip"), body: lie(string(gzipped([]byte(`{"a":1}`))), 0xffffffff), status: 400, code: tarn.CodeInvalid, detail: "gzip"},
		{name: "zstd bomb with its size", header: h("Content-Encoding", "zstd"), body: zstdBomb(1<<20, true), status: 413, code: tarn.CodeTooLarge},
		{name: "zstd bomb without its size", header: h("Content-Encoding", "zstd"), body: zstdBomb(1<<20, false), status: 413, code: tarn.CodeTooLarge},
		{name: "zstd bomb in the second frame", header: h("Content-Encoding", "zstd"), body: string(zstded([]byte("{\"a\":1}\n"), true)) + zstdBomb(1<<20, true), status: 413, code: tarn.CodeTooLarge},
		{name: "gzip over the limit only when decompressed", header: h("Content-Encoding", "gzip"), body: string(gzipped([]byte(strings.Repeat("{\"a\":1}\n", 1251)))), status: 413, code: tarn.CodeTooLarge},

		// Encodings.
		{name: "not gzip", header: h("Content-Encoding", "gzip"), body: `{"a":1}`, status: 400, code: tarn.CodeInvalid, detail: "not valid gzip"},
		{name: "gzip cut short", header: h("Content-Encoding", "gzip"), body: string(gzipped([]byte(lines(50)))[:60]), status: 400, code: tarn.CodeInvalid, detail: "gzip"},
		{name: "gzip with a wrong checksum", header: h("Content-Encoding", "gzip"), body: flip(string(gzipped([]byte(`{"a":1}`))), -6), status: 400, code: tarn.CodeInvalid},
		{name: "gzip and then garbage", header: h("Content-Encoding", "gzip"), body: string(gzipped([]byte(`{"a":1}`))) + "garbage", status: 400, code: tarn.CodeInvalid},
		{name: "empty gzip body", header: h("Content-Encoding", "gzip"), status: 400, code: tarn.CodeInvalid},
		{name: "not zstd", header: h("Content-Encoding", "zstd"), body: `{"a":1}`, status: 400, code: tarn.CodeInvalid, detail: "not valid zstd"},
		{name: "zstd cut short", header: h("Content-Encoding", "zstd"), body: string(zstded([]byte(lines(50)), true)[:40]), status: 400, code: tarn.CodeInvalid},
		{name: "zstd with a wrong checksum", header: h("Content-Encoding", "zstd"), body: flip(string(zstded([]byte(lines(50)), false)), -1), status: 400, code: tarn.CodeInvalid},
		{name: "gzip twice", header: h("Content-Encoding", "gzip", "Content-Encoding", "gzip"), body: "x", status: 415, code: tarn.CodeUnsupported, detail: "gzip,gzip"},
		{name: "brotli", header: h("Content-Encoding", "br"), body: "x", status: 415, code: tarn.CodeUnsupported, detail: `"br"`},
		{name: "compressed but not said", body: string(gzipped([]byte(`{"a":1}`))), status: 415, code: tarn.CodeUnsupported},

		// Content types.
		{name: "sniffed", header: h("Content-Type", "application/x-www-form-urlencoded"), body: `{"a":1}`, status: 200, accepted: 1},
		{name: "parameters and case", header: h("Content-Type", `Application/JSON; Charset="UTF-8"`), body: `{"a":1}`, status: 200, accepted: 1},
		{name: "cloud event", header: h("Content-Type", "application/cloudevents+json"), body: `{"id":"1"}`, status: 200, accepted: 1},
		{name: "opaque", header: h("Content-Type", "application/octet-stream"), body: "\x00\x01\n\xff", status: 200, accepted: 1},
		{name: "opaque over the record limit", header: h("Content-Type", "application/octet-stream"), body: pad(1001), status: 413, code: tarn.CodeRecordTooLarge},
		{name: "text that is JSON", header: h("Content-Type", "text/plain"), body: ` {"a":1}`, status: 200, accepted: 1},
		{name: "text that is none", header: h("Content-Type", "text/plain; charset=utf-8"), body: "a line of a log\nanother\n", status: 200, accepted: 1},
		{name: "no type and no JSON", body: "a,b\n1,2\n", status: 415, code: tarn.CodeUnsupported, detail: "content type"},
		{name: "CSV", header: h("Content-Type", "text/csv"), body: "a,b\n1,2\n", status: 415, code: tarn.CodeUnsupported, detail: "text/csv"},
		{name: "form with files", header: h("Content-Type", "multipart/form-data; boundary=x"), body: "--x--", status: 415, code: tarn.CodeUnsupported},
		{name: "UTF-16 declared", header: h("Content-Type", "application/json; charset=utf-16"), body: "{}", status: 415, code: tarn.CodeUnsupported, detail: "utf-16"},
		{name: "malformed type", header: h("Content-Type", "json"), body: "{}", status: 415, code: tarn.CodeUnsupported},
		{name: "two types", header: h("Content-Type", "application/json", "Content-Type", "text/plain"), body: "{}", status: 415, code: tarn.CodeUnsupported, detail: "application/json, text/plain"},
		{name: "long type", header: h("Content-Type", pad(5000)), body: "{}", status: 415, code: tarn.CodeUnsupported},

		// What the pipeline takes.
		{name: "bytes to a JSON pipeline", stream: "json", header: h("Content-Type", "application/octet-stream"), body: "x", status: 415, code: tarn.CodeUnsupported, detail: "JSON records"},
		{name: "text to a JSON pipeline", stream: "json", header: h("Content-Type", "text/plain"), body: "x", status: 422, code: tarn.CodeInvalidJSON},
		{name: "anything to an opaque pipeline", stream: "bytes", header: h("Content-Type", "image/png"), body: "\x89PNG", status: 200, accepted: 1},
		{name: "JSON to an opaque pipeline is one record", stream: "bytes", header: h("Content-Type", nd), body: "{}\n{}\n", status: 200, accepted: 1},
		{name: "nothing to an opaque pipeline", stream: "bytes", status: 422, code: tarn.CodeInvalidJSON, detail: "no records"},

		// Names, keys, parameters.
		{name: "unknown stream", stream: "nosuch", body: "{}", status: 404, code: tarn.CodeNotFound, detail: `"nosuch"`},
		{name: "stream with a path in its name", stream: "..%2f..%2fetc", body: "{}", status: 404, code: tarn.CodeNotFound},
		{name: "stream with a long name", stream: pad(3000), body: "{}", status: 404, code: tarn.CodeNotFound},
		{name: "unknown parameter", query: "?kye=a", body: "{}", status: 400, code: tarn.CodeInvalid, detail: `"kye"`},
		{name: "malformed query", query: "?key=%zz", body: "{}", status: 400, code: tarn.CodeInvalid},
		{name: "key twice", query: "?key=a&key=b", body: "{}", status: 400, code: tarn.CodeInvalid, detail: "twice"},
		{name: "key in two places", query: "?key=a", header: h("Tarn-Partition-Key", "b"), body: "{}", status: 400, code: tarn.CodeInvalid, detail: "twice"},
		{name: "key that is no text", query: "?key=%ff", body: "{}", status: 400, code: tarn.CodeInvalid, detail: "partition key"},
		{name: "long key", query: "?key=" + pad(2000), body: "{}", status: 400, code: tarn.CodeInvalid, detail: "partition key"},
		{name: "long idempotency key", header: h("Idempotency-Key", pad(256)), body: "{}", status: 400, code: tarn.CodeInvalid, detail: "Idempotency-Key"},
		{name: "idempotency key with a tab", header: h("Idempotency-Key", "a\tb"), body: "{}", status: 400, code: tarn.CodeInvalid},
		{name: "empty idempotency key", header: h("Idempotency-Key", ""), body: "{}", status: 400, code: tarn.CodeInvalid},
		{name: "two idempotency keys", header: h("Idempotency-Key", "a", "Idempotency-Key", "b"), body: "{}", status: 400, code: tarn.CodeInvalid},
	}
}

// lie replaces the size in the trailer of a gzip stream.
func lie(gz string, size uint32) string {
	return gz[:len(gz)-4] + string([]byte{byte(size), byte(size >> 8), byte(size >> 16), byte(size >> 24)})
}

// flip changes one byte, counted from the end.
func flip(s string, at int) string {
	b := []byte(s)
	b[len(b)+at] ^= 0xff
	return string(b)
}

// TestHostile sends the corpus to one server, one after the other, and then all at once.
func TestHostile(t *testing.T) {
	f := open(t, 0)
	check := func(t *testing.T, c hostile, body io.Reader) {
		name := c.stream
		if name == "" {
			name = "events"
		}
		a := f.post(t, name+"/records"+c.query, c.header, body)
		if a.status != c.status || a.code != c.code || !strings.Contains(a.detail, c.detail) || a.doc.Accepted != c.accepted {
			t.Errorf("%d %s\nwant %d %s %q, %d accepted", a.status, a.body, c.status, c.code, c.detail, c.accepted)
		}
		rejected := a.doc.Rejected
		if a.status != 200 {
			rejected = a.refused
		}
		var got []string
		for _, r := range rejected {
			got = append(got, fmt.Sprintf("%d:%s", r.Index, r.Code))
			if r.Detail == "" {
				t.Error("a rejected record without a reason")
			}
		}
		if c.rejected != "" && strings.Join(got, " ") != c.rejected {
			t.Errorf("rejected %v, want %s", got, c.rejected)
		}
	}
	for _, c := range corpus() {
		t.Run(c.name, func(t *testing.T) { check(t, c, strings.NewReader(c.body)) })
	}
	t.Run("chunked", func(t *testing.T) {
		for _, c := range corpus() {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				check(t, c, io.MultiReader(strings.NewReader(c.body)))
			})
		}
	})
}

// TestManyRejects wants a body of nothing but garbage answered in bounded size.
func TestManyRejects(t *testing.T) {
	f := open(t, 0)
	a := f.post(t, "large/records", h("Content-Type", "application/x-ndjson"), strings.NewReader("{}\n"+strings.Repeat("x\n", 1<<20)))
	if a.status != 200 || len(a.doc.Rejected) != record.MaxRejects || a.doc.RejectedTotal != 1<<20 {
		t.Errorf("%d, %d listed, %d in all", a.status, len(a.doc.Rejected), a.doc.RejectedTotal)
	}
}

// TestRawConnections sends what no HTTP library would.
func TestRawConnections(t *testing.T) {
	f := open(t, 0)
	for name, c := range map[string]struct{ send, want string }{
		"length and chunks":   {"POST /v1/streams/events/records HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", "HTTP/1.1 200"},
		"two lengths":         {"POST /v1/streams/events/records HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", "HTTP/1.1 400"},
		"negative length":     {"POST /v1/streams/events/records HTTP/1.1\r\nHost: localhost\r\nContent-Length: -2\r\n\r\n{}", "HTTP/1.1 400"},
		"absurd length":       {"POST /v1/streams/events/records HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9223372036854775807\r\n\r\n{}", "HTTP/1.1 413"},
		"malformed chunk":     {"POST /v1/streams/events/records HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", "HTTP/1.1 400"},
		"unknown coding":      {"POST /v1/streams/events/records HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n", "HTTP/1.1 501"},
		"body on a GET":       {"GET /v1/streams/events/records HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}", "HTTP/1.1 405"},
		"pipelined, one torn": {"POST /v1/streams/events/records HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}POST /v1/str", "HTTP/1.1 200"},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			_, _ = io.WriteString(conn, c.send)
			line, err := bufio.NewReader(conn).ReadString('\n')
			if !strings.HasPrefix(line, c.want) {
				t.Errorf("%q, %v; want %s", line, err, c.want)
			}
		})
	}
}
