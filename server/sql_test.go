package server_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/query"
	"github.com/tarn-data/tarn/server"
)

func TestSQL(t *testing.T) {
	f := (&fixture{}).open(t, nil)
	const sum = "SELECT count(*) AS c, max(name) AS m FROM curated.numbers WHERE n < "
	for name, c := range map[string]struct {
		body, accept, contentType string
		want, wantType            string
	}{
		"JSON":          {`{"sql":"` + sum + `10"}`, "", "application/json", `"rows":[` + "\n" + `{"c":10,"m":"name 9"}]`, "application/json"},
		"NDJSON":        {`{"sql":"` + sum + `10"}`, "application/x-ndjson", "application/json", "{\"c\":10,\"m\":\"name 9\"}\n", "application/x-ndjson"},
		"CSV":           {`{"sql":"` + sum + `10"}`, "text/csv", "application/json", "c,m\n10,name 9\n", "text/csv; charset=utf-8"},
		"Parquet":       {`{"sql":"` + sum + `10"}`, query.Parquet.ContentType(), "application/json", "PAR1", query.Parquet.ContentType()},
		"Arrow":         {`{"sql":"` + sum + `10"}`, query.Arrow.ContentType(), "application/json", "name 9", query.Arrow.ContentType()},
		"parameters":    {`{"sql":"` + sum + `$1","params":[10]}`, "text/csv", "application/json", "c,m\n10,name 9\n", ""},
		"at a snapshot": {`{"sql":"` + sum + `10","at":"7"}`, "text/csv", "application/json", "c,m\n0,\n", ""},
		"plain text":    {sum + "10", "text/csv", "application/sql", "c,m\n10,name 9\n", ""},
		"curl's type":   {`{"sql":"` + sum + `10"}`, "text/csv", "application/x-www-form-urlencoded", "c,m\n10,name 9\n", ""},
		"a browser":     {`{"sql":"` + sum + `10"}`, "text/html, */*;q=0.5", "application/json", `"row_count":1`, "application/json"},
		"large":         {`{"sql":"SELECT * FROM curated.numbers ORDER BY n"}`, "text/csv", "application/json", "\n99999,name 99999\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			resp, body := f.call(t, "POST", "/v1/sql", c.body, "Content-Type", c.contentType, "Accept", c.accept)
			if resp.StatusCode != 200 || !strings.Contains(body, c.want) || c.wantType != "" && resp.Header.Get("Content-Type") != c.wantType {
				t.Errorf("%d %s %.500s", resp.StatusCode, resp.Header.Get("Content-Type"), body)
			}
		})
	}
	for name, c := range map[string]struct {
		body, accept, contentType string
		status                    int
		contains                  string
	}{
		"syntax":                  {`{"sql":"SELEC 1"}`, "", "application/json", 400, "SELEC"},
		"unknown table":           {`{"sql":"SELECT * FROM curated.nosuch"}`, "", "application/json", 404, "nosuch"},
		"a file":                  {`{"sql":"SELECT * FROM read_csv('/etc/passwd')"}`, "", "application/json", 403, ""},
		"not a SELECT":            {`{"sql":"DROP TABLE curated.numbers"}`, "", "application/json", 403, ""},
		"fails in its first rows": {`{"sql":"SELECT CAST(name AS INTEGER) FROM curated.numbers"}`, "text/csv", "application/json", 400, "name 0"},
		"no such format":          {`{"sql":"SELECT 1"}`, "image/png", "application/json", 406, "Accept"},
		"no statement":            {`{"sql":" "}`, "", "application/json", 400, "empty"},
		"no JSON":                 {`{"sql":`, "", "application/json", 400, ""},
		"two documents":           {`{"sql":"SELECT 1"} {}`, "", "application/json", 400, "follows"},
		"unknown member":          {`{"query":"SELECT 1"}`, "", "application/json", 400, "query"},
		"no such time":            {`{"sql":"SELECT 1","at":"noon"}`, "", "application/json", 400, "noon"},
		"too few parameters":      {`{"sql":"SELECT $1"}`, "", "application/json", 400, "takes 1 parameter, not 0"},
		"XML":                     {`<sql/>`, "", "application/xml", 415, "xml"},
		"huge":                    {`{"sql":"` + strings.Repeat(" ", 5<<20) + `"}`, "", "application/json", 413, "bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			status, p := f.problem(t, "POST", "/v1/sql", c.body, "Content-Type", c.contentType, "Accept", c.accept)
			if status != c.status || !strings.Contains(p["detail"].(string), c.contains) {
				t.Errorf("%d %v", status, p)
			}
		})
	}
}

// TestSQLFailsLate wants an error after the first rows seen by readers of every format.
func TestSQLFailsLate(t *testing.T) {
	f := (&fixture{}).open(t, nil)
	const late = `{"sql":"SELECT n, CASE WHEN n = 90000 THEN CAST(name AS INTEGER) ELSE 1 END AS x, repeat('x', 100) AS pad FROM curated.numbers"}`
	for _, format := range []query.Format{query.JSON, query.NDJSON, query.CSV, query.Arrow} {
		req, _ := http.NewRequest("POST", f.url+"/v1/sql", strings.NewReader(late))
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", format.ContentType())
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		end := make([]byte, 0, 64<<10)
		buf := make([]byte, 32<<10)
		for err == nil {
			var n int
			n, err = resp.Body.Read(buf)
			end = append(end, buf[:n]...)
			end = end[max(0, len(end)-2000):]
		}
		_ = resp.Body.Close()
		if resp.StatusCode != 200 || err.Error() != "unexpected EOF" {
			t.Errorf("%v: %d, %v", format, resp.StatusCode, err)
		}
		if told := strings.Contains(string(end), `"error":{"code":"invalid"`); told != (format == query.JSON || format == query.NDJSON) {
			t.Errorf("%v: the error is told: %v\n%s", format, told, end)
		}
	}
}

// TestSQLCanceled wants a statement ended when its client goes.
func TestSQLCanceled(t *testing.T) {
	f := (&fixture{}).open(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	req, _ := http.NewRequestWithContext(ctx, "POST", f.url+"/v1/sql", strings.NewReader("SELECT sum(sqrt(a.n * b.n)) FROM curated.numbers a, curated.numbers b, curated.numbers c"))
	req.Header.Set("Content-Type", "application/sql")
	done := make(chan error)
	go func() {
		_, err := http.DefaultClient.Do(req)
		done <- err
	}()
	time.Sleep(200 * time.Millisecond)
	cancel()
	if err := <-done; err == nil {
		t.Error("it ended before")
	}
	select {
	case e := <-f.ended:
		if e.Code != tarn.CodeCanceled {
			t.Errorf("%+v", e)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the statement goes on without its client")
	}
}

func TestSQLResultDocument(t *testing.T) {
	f := (&fixture{}).open(t, nil)
	_, body := f.call(t, "POST", "/v1/sql", `{"sql":"SELECT n, name FROM curated.numbers ORDER BY n LIMIT 2"}`, "Content-Type", "application/json")
	var doc server.SQLResultDoc
	if err := json.Unmarshal([]byte(body), &doc); err != nil {
		t.Fatal(err)
	}
	if len(doc.Columns) != 2 || doc.Columns[0].Type != "BIGINT" || len(doc.Rows) != 2 || string(doc.Rows[1]) != `{"n":1,"name":"name 1"}` || doc.RowCount != 2 || doc.Error != nil {
		t.Errorf("%s", body)
	}
}
