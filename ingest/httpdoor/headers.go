package httpdoor

import (
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tarn-data/tarn"
)

// Limits of what headers may hold.
const (
	maxIdempotencyKey = 255
	maxPartitionKey   = 1024 // bytes
)

// content is what the headers say about a body.
type content uint8

const (
	contentSniff  content = iota // look at the body; it must be JSON
	contentText                  // look at the body; what is not JSON is opaque
	contentJSON                  // JSON records in any layout
	contentLines                 // JSON records, one on each line
	contentOpaque                // the body is one record
)

// coding is a Content-Encoding.
type coding uint8

const (
	codingIdentity coding = iota
	codingGzip
	codingZstd
)

// envelope is what a request says beside its body.
type envelope struct {
	content     content
	coding      coding
	key         string // partition key, may be empty
	idempotency string // may be empty
}

const typesHint = "send application/x-ndjson or application/json, or application/octet-stream to keep the body as one opaque record"

func readEnvelope(r *http.Request, takes Records) (envelope, error) {
	e := envelope{content: contentOpaque}
	var err error
	if takes != RecordsOpaque {
		if e.content, err = contentOf(r.Header.Values("Content-Type")); err != nil {
			return e, err
		}
	}
	if e.content == contentOpaque && takes == RecordsJSON {
		return e, &tarn.Error{Code: tarn.CodeUnsupported, Detail: "this stream takes JSON records, not opaque bytes", Hint: "send application/x-ndjson or application/json, or set records: opaque in the pipeline"}
	}
	if e.coding, err = codingOf(r.Header.Values("Content-Encoding")); err != nil {
		return e, err
	}
	if e.idempotency, err = idempotencyOf(r.Header.Values("Idempotency-Key")); err != nil {
		return e, err
	}
	e.key, err = partitionKeyOf(r)
	return e, err
}

func contentOf(values []string) (content, error) {
	if len(values) == 0 || values[0] == "" {
		return contentSniff, nil
	}
	if len(values) == 1 {
		switch values[0] { // the common spellings, without parsing
		case "application/x-ndjson":
			return contentLines, nil
		case "application/json":
			return contentJSON, nil
		case "application/octet-stream":
			return contentOpaque, nil
		}
	}
	unsupported := func(hint string) (content, error) {
		return 0, &tarn.Error{Code: tarn.CodeUnsupported, Detail: "the content type " + strconv.Quote(clip(strings.Join(values, ", "))) + " is not supported", Hint: hint}
	}
	if len(values) > 1 {
		return unsupported("send one Content-Type header")
	}
	t, params, err := mime.ParseMediaType(values[0])
	if err != nil {
		return unsupported(typesHint)
	}
	if cs := strings.ToLower(params["charset"]); cs != "" && cs != "utf-8" && cs != "utf8" && cs != "us-ascii" && t != "application/octet-stream" {
		return unsupported("convert the body to UTF-8")
	}
	switch t {
	case "application/json", "text/json":
		return contentJSON, nil
	case "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonl", "application/jsonlines",
		"application/x-jsonlines", "application/json-lines", "text/x-ndjson":
		return contentLines, nil
	case "application/octet-stream":
		return contentOpaque, nil
	case "text/plain":
		return contentText, nil
	case "application/x-www-form-urlencoded": // what curl --data sends unless told otherwise
		return contentSniff, nil
	case "application/json-seq":
		return unsupported("send the records as lines, as application/x-ndjson")
	}
	if strings.HasSuffix(t, "+json") {
		return contentJSON, nil
	}
	return unsupported(typesHint)
}

func codingOf(values []string) (coding, error) {
	if len(values) == 0 {
		return codingIdentity, nil
	}
	name := strings.ToLower(strings.TrimSpace(strings.Join(values, ",")))
	switch name {
	case "", "identity":
		return codingIdentity, nil
	case "gzip", "x-gzip":
		return codingGzip, nil
	case "zstd":
		return codingZstd, nil
	}
	return 0, &tarn.Error{Code: tarn.CodeUnsupported, Detail: "the content encoding " + strconv.Quote(clip(name)) + " is not supported", Hint: "compress the body once, with gzip or zstd"}
}

func idempotencyOf(values []string) (string, error) {
	if len(values) == 0 {
		return "", nil
	}
	k := values[0]
	if len(values) > 1 || k == "" || len(k) > maxIdempotencyKey || strings.IndexFunc(k, func(c rune) bool { return c < 0x20 || c > 0x7e }) >= 0 {
		return "", &tarn.Error{Code: tarn.CodeInvalid, Detail: "the Idempotency-Key is not usable", Hint: "send one key of 1 to 255 printable ASCII characters, for example a UUID"}
	}
	return k, nil
}

func partitionKeyOf(r *http.Request) (string, error) {
	key := r.Header.Get("Tarn-Partition-Key")
	if r.URL.RawQuery != "" {
		q, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			return "", &tarn.Error{Code: tarn.CodeInvalid, Detail: "the query string of the URL is malformed", Hint: "escape the key, as in ?key=a%26b", Err: err}
		}
		for name := range q {
			if name != "key" {
				return "", &tarn.Error{Code: tarn.CodeInvalid, Detail: "the parameter " + strconv.Quote(clip(name)) + " is not known here", Hint: "the one parameter is ?key="}
			}
		}
		if fromURL := q.Get("key"); len(q["key"]) > 1 || fromURL != "" && key != "" && fromURL != key {
			return "", &tarn.Error{Code: tarn.CodeInvalid, Detail: "the partition key is given twice", Hint: "send either ?key= or the header Tarn-Partition-Key"}
		} else if fromURL != "" {
			key = fromURL
		}
	}
	if len(key) > maxPartitionKey || !utf8.ValidString(key) {
		return "", &tarn.Error{Code: tarn.CodeInvalid, Detail: "the partition key is not usable", Hint: "send UTF-8 text of at most " + strconv.Itoa(maxPartitionKey) + " bytes"}
	}
	return key, nil
}

// clip shortens text from a request that an answer repeats.
func clip(s string) string {
	if len(s) > 100 {
		return strings.ToValidUTF8(s[:100], "") + "…"
	}
	return s
}
