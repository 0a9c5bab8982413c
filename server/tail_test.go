package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/server"
)

// fill appends records {"i":0} … to a shard, ten to a message.
func (f *fixture) fill(t testing.TB, name string, shard, n int) {
	t.Helper()
	for from := 0; from < n; from += 10 {
		seg := record.Segment{Arrival: time.Date(2026, 11, 20, 3, 0, 0, 0, time.UTC), Lines: true}
		for i := from; i < min(from+10, n); i++ {
			seg.Payload = fmt.Appendf(seg.Payload, "{\"i\":%d}\n", i)
			seg.Count++
		}
		if _, err := f.streams[name].Append(t.Context(), shard, seg, ""); err != nil {
			t.Fatal(err)
		}
	}
}

// tail returns the positions and records of an answer.
func (f *fixture) tail(t testing.TB, path string) []string {
	t.Helper()
	resp, body := f.call(t, "GET", path, "")
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/x-ndjson" {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	var got []string
	for line := range strings.Lines(body) {
		var d server.TailDoc
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		got = append(got, d.Position.String()+string(d.Record))
	}
	return got
}

func TestTail(t *testing.T) {
	f := (&fixture{}).open(t, nil)
	f.fill(t, "events", 0, 25)
	for shard := range 3 {
		f.fill(t, "sharded", shard, shard*10)
	}
	for query, want := range map[string]string{
		"":                                   `25 0:0{"i":0} 0:24{"i":24}`,
		"?limit=3":                           `3 0:0{"i":0} 0:2{"i":2}`,
		"?from=earliest&limit=12":            `12 0:0{"i":0} 0:11{"i":11}`,
		"?from=latest":                       `0`,
		"?from=-4":                           `4 0:21{"i":21} 0:24{"i":24}`,
		"?from=-400&limit=0":                 `25 0:0{"i":0} 0:24{"i":24}`,
		"?from=0:13":                         `12 0:13{"i":13} 0:24{"i":24}`,
		"?from=0:25":                         `0`,
		"?from=1066-10-14T00:00:00Z&limit=1": `1 0:0{"i":0} 0:0{"i":0}`,
		"?from=2000-01-01T00:00:00Z&limit=1": `1 0:0{"i":0} 0:0{"i":0}`,
		"?from=2999-01-01T00:00:00%2B01:00&shard=0":   `0`,
		"?from=0:13&shard=0&follow=true&limit=12":     `12 0:13{"i":13} 0:24{"i":24}`,
		"?from=earliest&follow=true&limit=25&shard=0": `25 0:0{"i":0} 0:24{"i":24}`,
	} {
		got := f.tail(t, "/v1/streams/events/records"+query)
		text := fmt.Sprint(len(got))
		if len(got) > 0 {
			text += " " + got[0] + " " + got[len(got)-1]
		}
		if text != want {
			t.Errorf("%s: %s, want %s", query, text, want)
		}
	}
	if got := f.tail(t, "/v1/streams/sharded/records?from=-1"); fmt.Sprint(got) != `[1:9{"i":9} 2:19{"i":19}]` {
		t.Errorf("all shards: %v", got)
	}
	if got := f.tail(t, "/v1/streams/sharded/records?shard=1"); len(got) != 10 {
		t.Errorf("one shard: %v", got)
	}
	for query, code := range map[string]string{
		"?from=yesterday": "invalid", "?from=-x": "invalid", "?limit=-1": "invalid", "?follow=maybe": "invalid", "?shard=x": "invalid",
		"?from=0:26": "invalid", "?from=1:0&shard=0": "invalid", "?from=7:0": "not_found", "?shard=3": "not_found", "?form=latest": "invalid",
	} {
		if _, p := f.problem(t, "GET", "/v1/streams/events/records"+query, ""); p["code"] != code {
			t.Errorf("%s: %v", query, p)
		}
	}
	if status, p := f.problem(t, "GET", "/v1/streams/nosuch/records", ""); status != 404 || p["hint"] != "tarn streams ls lists them" {
		t.Error(status, p)
	}
}

// TestTailFormats shows keys, records of several lines and opaque ones.
func TestTailFormats(t *testing.T) {
	f := (&fixture{}).open(t, nil)
	at := time.Date(2026, 11, 20, 3, 0, 0, 1000, time.UTC)
	for _, seg := range []record.Segment{
		{Arrival: at, Key: `a"b`, Count: 1, Payload: record.AppendRecord(nil, []byte("{\n\"a\": 1\n}"), false)},
		{Arrival: at, Format: record.Opaque, Count: 1, Payload: record.AppendRecord(nil, []byte{0, 0xff}, false)},
	} {
		if _, err := f.streams["events"].Append(t.Context(), 0, seg, ""); err != nil {
			t.Fatal(err)
		}
	}
	_, body := f.call(t, "GET", "/v1/streams/events/records", "")
	want := `{"position":"0:0","arrival":"2026-11-20T03:00:00.000001Z","key":"a\"b","record":{ "a": 1 }}
{"position":"0:1","arrival":"2026-11-20T03:00:00.000001Z","record_base64":"AP8="}
`
	if body != want {
		t.Errorf("got\n%swant\n%s", body, want)
	}
}

// TestFollow wants each record of every shard as it arrives, in the order of its shard.
func TestFollow(t *testing.T) {
	f := (&fixture{}).open(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, "GET", f.url+"/v1/streams/sharded/records?from=latest&follow=true&limit=0", nil)
	resp, err := http.DefaultClient.Do(req) // returns at the header, before any record
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	go func() {
		for range 5 {
			for shard := range 3 {
				f.fill(t, "sharded", shard, 20)
			}
		}
	}()
	next := map[int]uint64{}
	lines := bufio.NewScanner(resp.Body)
	for n := 0; n < 300 && lines.Scan(); n++ {
		var d server.TailDoc
		if err := json.Unmarshal(lines.Bytes(), &d); err != nil {
			t.Fatal(err)
		}
		if d.Position.Offset != next[d.Position.Shard] {
			t.Fatalf("%v where %d is next", d.Position, next[d.Position.Shard])
		}
		next[d.Position.Shard]++
	}
	if fmt.Sprint(next) != "map[0:100 1:100 2:100]" {
		t.Errorf("%v %v", next, lines.Err())
	}
}

// TestFollowEndsWithTheServer: followers do not hold up the end of the server, and see a clean end.
func TestFollowEndsWithTheServer(t *testing.T) {
	f := (&fixture{}).open(t, nil)
	f.fill(t, "events", 0, 1)
	ln, err := server.Listen(t.Context(), "127.0.0.1:0", false)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	served := make(chan error)
	go func() { served <- server.Serve(ctx, ln, f.handler, time.Minute, slog.New(slog.DiscardHandler)) }()
	resp, err := http.Get("http://" + ln.Addr().String() + "/v1/streams/events/records?follow=true&from=earliest")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body := bufio.NewReader(resp.Body)
	if line, err := body.ReadString('\n'); err != nil || !strings.Contains(line, `{"i":0}`) {
		t.Fatalf("%q, %v", line, err)
	}
	began := time.Now()
	stop()
	if _, err := body.ReadByte(); err != io.EOF {
		t.Errorf("the follower sees %v", err)
	}
	if err := <-served; err != nil || time.Since(began) > 20*time.Second {
		t.Errorf("served until %s: %v", time.Since(began), err)
	}
}
