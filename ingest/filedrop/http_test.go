package filedrop

import (
	"bytes"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tarn-data/tarn"
)

// TestHandler pushes over HTTP: bodies with a name in each place, forms, and what is refused.
func TestHandler(t *testing.T) {
	s := newSite(t, 1)
	s.o.Folder = ""
	s.open()
	h := NewHandler(HandlerOptions{
		Door: func(name string) (*Door, error) {
			if name != "users" {
				return nil, &tarn.Error{Code: tarn.CodeNotFound, Detail: "no such pipeline"}
			}
			return s.door, nil
		},
		Problem: func(w http.ResponseWriter, _ *http.Request, err error) {
			w.WriteHeader(http.StatusTeapot)
			_, _ = io.WriteString(w, string(tarn.CodeOf(err)))
		},
	})
	mux := http.NewServeMux()
	mux.Handle("POST /v1/pipelines/{pipeline}/runs", h)
	srv := httptest.NewServer(mux)
	defer srv.Close()
	post := func(path, kind string, header map[string]string, body string) (int, string, RunDoc) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", kind)
		for k, v := range header {
			req.Header.Set(k, v)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		var doc RunDoc
		_ = json.Unmarshal(b, &doc)
		return resp.StatusCode, string(b), doc
	}
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	_ = w.WriteField("note", "not a file")
	for name, text := range map[string]string{"../../m1.csv": "a\n10\n", "m2.ndjson": "{\"a\":11}\n"} {
		part, _ := w.CreateFormFile("file", name)
		_, _ = io.WriteString(part, text)
	}
	_ = w.Close()

	for _, c := range []struct {
		name, path, kind string
		header           map[string]string
		body             string
		files            string // NAME FORMAT of the outcomes, or the code of the problem
	}{
		{"name in the query", "/v1/pipelines/users/runs?name=a.csv", "application/octet-stream", nil, "a\n1\n", "a.csv csv 1"},
		{"name in a header", "/v1/pipelines/users/runs", "text/plain", map[string]string{"Tarn-File-Name": "/tmp/b.csv"}, "a\n2\n", "b.csv csv 1"},
		{"name of an attachment", "/v1/pipelines/users/runs", "", map[string]string{"Content-Disposition": `attachment; filename="c.log"`}, "x\n", "c.log text 1"},
		{"by content type", "/v1/pipelines/users/runs", "application/x-ndjson", nil, "{\"a\":3}\n", "run.ndjson ndjson 1"},
		{"format said", "/v1/pipelines/users/runs?name=d.csv&format=text", "", nil, "a,b\n", "d.csv text 1"},
		{"form", "/v1/pipelines/users/runs", w.FormDataContentType(), nil, form.String(), "*.csv csv 1 m2.ndjson ndjson 1"},
		{"no pipeline", "/v1/pipelines/other/runs", "", nil, "x", "not_found"},
		{"no format", "/v1/pipelines/users/runs?format=xml", "", nil, "x", "invalid"},
		{"again maybe", "/v1/pipelines/users/runs?again=maybe", "", nil, "x", "invalid"},
		{"empty", "/v1/pipelines/users/runs", "", nil, "", "invalid"},
		{"empty form", "/v1/pipelines/users/runs", "multipart/form-data; boundary=x", nil, "--x--\r\n", "invalid"},
		{"nothing good", "/v1/pipelines/users/runs?name=e.ndjson", "", nil, "bad\n", "invalid_json"},
	} {
		status, body, doc := post(c.path, c.kind, c.header, c.body)
		if status != http.StatusOK {
			if body != c.files {
				t.Errorf("%s: %s, want %s", c.name, body, c.files)
			}
			continue
		}
		for _, f := range doc.Files {
			if !strings.Contains(c.files, f.Format) || !strings.Contains(c.files, f.File) && f.File != "m1.csv" || f.Accepted != 1 || len(f.Hash) != hashDigits {
				t.Errorf("%s: %s, want %s", c.name, body, c.files)
			}
		}
	}
	if _, _, doc := post("/v1/pipelines/users/runs?name=z.csv", "", nil, "a\n1\n"); !doc.Files[0].Duplicate || doc.Files[0].TakenAs != "a.csv" {
		t.Errorf("%+v", doc)
	}
	if _, _, doc := post("/v1/pipelines/users/runs?name=z.csv&again=true", "", nil, "a\n1\n"); doc.Files[0].Duplicate || doc.Files[0].Take != 1 {
		t.Errorf("%+v", doc)
	}
}
