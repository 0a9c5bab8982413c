package httpdoor_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

// eventBody returns n telemetry events of about 350 bytes as NDJSON.
func eventBody(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, `{"device_id":"wagon-%04d","ts":"2026-11-20T03:%02d:%02d.%03dZ","seq":%d,"position":{"lat":%.5f,"lon":%.5f,"speed_kmh":%.1f},"axles":[{"t":%.1f,"v":%.2f},{"t":%.1f,"v":%.2f}],"brake":{"pressure_bar":%.2f,"applied":%t},"load_kg":%d,"battery_v":%.2f,"note":"regular interval report"}`+"\n",
			i%2000, i/60%60, i%60, i%1000, i, 48+float64(i%1000)/1e3, 11+float64(i%777)/1e3, float64(i%120), 40+float64(i%30), float64(i%9)/3, 41+float64(i%31), float64(i%8)/3, 4.8+float64(i%7)/10, i%13 == 0, 20000+i%60000, 24+float64(i%20)/10)
	}
	return b.Bytes()
}

// drive posts to url with 8 clients until b.N events are answered.
func drive(b *testing.B, url string, body []byte, events int) {
	b.Helper()
	var left atomic.Int64
	left.Store(int64(b.N))
	b.SetBytes(int64(len(body) / events))
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8, WriteBufferSize: 256 << 10}}
	b.ResetTimer()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for left.Add(-int64(events)) > -int64(events) {
				resp, err := client.Post(url, "application/x-ndjson", bytes.NewReader(body))
				if err != nil {
					b.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					b.Errorf("status %d", resp.StatusCode)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkDoor measures 8 clients posting 500 events each, answered after fsync. Its floor is
// BenchmarkFloor in the same run.
func BenchmarkDoor(b *testing.B) {
	f := open(b, 0)
	drive(b, f.url+"/v1/streams/large/records", eventBody(500), 500)
}

// BenchmarkFloor is net/http that appends each body to a file, one fsync per body, and checks nothing.
func BenchmarkFloor(b *testing.B) {
	file, err := os.Create(filepath.Join(b.TempDir(), "log"))
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	var mu sync.Mutex
	url := serve(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := make([]byte, r.ContentLength)
		if _, err := io.ReadFull(r.Body, body); err != nil {
			b.Error(err)
		}
		mu.Lock()
		_, _ = file.Write(body)
		err := file.Sync()
		mu.Unlock()
		if err != nil {
			b.Error(err)
		}
	}))
	drive(b, url, eventBody(500), 500)
}

func serve(t testing.TB, h http.Handler) string {
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.URL
}
