package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode"
)

// TestNothingSteersTheTerminal: names and reasons that came with records reach the screen without
// their control characters.
func TestNothingSteersTheTerminal(t *testing.T) {
	const evil = `k\u001b[2J\u009b31m\u0007`
	answers := map[string]string{
		"/v1/tables/curated.a": `{"name":"curated.a","pipeline":"` + evil + `","columns":[{"id":1,"name":"` + evil + `","type":"STRUCT(\"` + evil + `\" BIGINT)","doc":"` + evil + `"}],
			"inference":[{"column":"` + evil + `","type":"JSON","why":"` + evil + `"},{"column":"_x` + evil + `","type":"","why":"kept in _rest: ` + evil + `"}]}`,
		"/v1/failed":            `{"failed":[{"id":1,"pipeline":"p","position":"0:1","stage":"` + evil + `","reason":"` + evil + `"}]}`,
		"/v1/streams/a/records": `{"position":"0:1","arrival":"2026-11-20T03:00:00Z","record":{"` + "k\u009b31m" + `":1}}`,
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if body, ok := answers[r.URL.Path]; ok {
			fmt.Fprintln(w, body)
			return
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprintf(w, `{"code":"not_found","status":404,"detail":"there is no %s"}`, evil)
	}))
	defer srv.Close()
	for args, status := range map[string]int{
		"tables describe curated.a": 0, "failed ls": 0, "streams tail a": 0, "tables describe nosuch": 1,
	} {
		var out, errOut strings.Builder
		got := run(append(strings.Fields(args), "--server", srv.URL), strings.NewReader(""), &out, &errOut)
		text := out.String() + errOut.String()
		if got != status || !strings.Contains(text, "k\uFFFD") {
			t.Errorf("%s: status %d\n%s", args, got, text)
		}
		if i := strings.IndexFunc(text, func(c rune) bool { return unicode.IsControl(c) && c != '\n' }); i >= 0 {
			t.Errorf("%s: a control character at %d of %q", args, i, text)
		}
	}
}

// TestLongErrorStaysShort: what a function wrote before it ended does not bury the list of functions.
func TestLongErrorStaysShort(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"functions":[{"name":"size","last_error":"exit status 1: %s"}]}`, strings.Repeat("é{}", 1000))
	}))
	defer srv.Close()
	var out, errOut strings.Builder
	if status := run([]string{"functions", "ls", "--server", srv.URL}, strings.NewReader(""), &out, &errOut); status != 0 {
		t.Fatalf("status %d\n%s", status, errOut.String())
	}
	if lines := strings.Split(out.String(), "\n"); len(lines) != 4 || !strings.HasPrefix(lines[2], "size: exit status 1: é{}é{}") || !strings.HasSuffix(lines[2], " …") || len([]rune(lines[2])) > 220 {
		t.Errorf("%q", lines)
	}
}
