package stream_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	tarn "github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/stream"
	"github.com/tarn-data/tarn/stream/jetstream"
)

// freePorts returns n ports that nothing listens on.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// runServer starts a server that listens.
func runServer(t *testing.T, o *server.Options) *server.Server {
	t.Helper()
	o.Host, o.NoSigs, o.NoLog, o.JetStream = "127.0.0.1", true, true, true
	srv, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	go srv.Start()
	if !srv.ReadyForConnections(20 * time.Second) {
		t.Fatal("the server is not ready")
	}
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	return srv
}

// serverOptions carries the options of a server that runs as a child process.
const serverOptions = "TARN_TEST_SERVER"

type childOptions struct {
	Name, Dir, Routes string
	Port, RoutePort   int
}

// serverChild runs a server of a cluster until it is killed.
func serverChild(options string) {
	var o childOptions
	if err := json.Unmarshal([]byte(options), &o); err != nil {
		panic(err)
	}
	srv, err := server.NewServer(&server.Options{
		ServerName: o.Name, Host: "127.0.0.1", Port: o.Port, StoreDir: o.Dir,
		NoSigs: true, NoLog: true, JetStream: true, SyncAlways: true,
		Cluster: server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: o.RoutePort},
		Routes:  server.RoutesFromStr(o.Routes),
	})
	if err != nil {
		panic(err)
	}
	go func() { // the parent holds the other end
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	srv.Start()
	srv.WaitForShutdown()
}

// runCluster starts a cluster of n servers, each a process of its own, and returns them by name
// and their URL.
func runCluster(t *testing.T, n int) (map[string]*exec.Cmd, string) {
	t.Helper()
	ports := freePorts(t, 2*n)
	var routes, urls []string
	for i := range n {
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", ports[n+i]))
		urls = append(urls, fmt.Sprintf("nats://127.0.0.1:%d", ports[i]))
	}
	servers := map[string]*exec.Cmd{}
	for i := range n {
		o := childOptions{Name: fmt.Sprint("n", i), Dir: t.TempDir(), Routes: strings.Join(routes, ","), Port: ports[i], RoutePort: ports[n+i]}
		options, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), serverOptions+"="+string(options))
		cmd.Stderr = t.Output()
		if _, err := cmd.StdinPipe(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			cmd.Process.Kill()
			cmd.Wait()
		})
		servers[o.Name] = cmd
	}
	url := strings.Join(urls, ",")
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if ready(url, n) {
			return servers, url
		}
		if time.Now().After(deadline) {
			t.Fatal("the cluster is not ready")
		}
	}
}

// ready reports whether a log with n replicas can be created.
func ready(url string, n int) bool {
	nc, err := nats.Connect(url, nats.Timeout(time.Second))
	if err != nil {
		return false
	}
	defer nc.Close()
	js, err := nc.JetStream(nats.MaxWait(2 * time.Second))
	if err != nil {
		return false
	}
	_, err = js.AddStream(&nats.StreamConfig{Name: "probe", Subjects: []string{"probe"}, Replicas: n})
	return err == nil && js.DeleteStream("probe") == nil
}

// leader returns the name of the server that leads a log.
func leader(t *testing.T, url, name string) string {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	info, err := js.StreamInfo(name)
	if err != nil {
		t.Fatal(err)
	}
	return info.Cluster.Leader
}

func connect(t *testing.T, url string, replicas int) *jetstream.Engine {
	t.Helper()
	e, err := jetstream.Connect(context.Background(), jetstream.ClusterOptions{URL: url, Replicas: replicas, AckTimeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func TestLogCluster(t *testing.T) {
	t.Parallel()
	_, url := runCluster(t, 3)
	testLog(t, connect(t, url, 3), func() stream.Engine { return connect(t, url, 3) })
}

// TestClusterServerKilled loads a stream with three replicas from two nodes and kills the server
// that leads the log in the midst of it. Nothing acknowledged is lost and no offset is
// given twice.
func TestClusterServerKilled(t *testing.T) {
	t.Parallel()
	servers, url := runCluster(t, 3)
	nodes := []*stream.Stream{open(t, connect(t, url, 3), stream.Config{}), open(t, connect(t, url, 3), stream.Config{})}
	var mu sync.Mutex
	acked := map[uint64]string{}
	failed := 0
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for n, s := range nodes {
		for c := range 4 {
			wg.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					name := fmt.Sprintf("n%d-c%d-i%d", n, c, i)
					key := ""
					if i%4 == 0 {
						key = name
					}
					ack, err := s.Append(context.Background(), 0, lines(name, 1), key)
					mu.Lock()
					if err != nil {
						failed++
					} else if other, ok := acked[ack.First.Offset]; ok {
						t.Errorf("offset %d is acknowledged for %s and %s", ack.First.Offset, other, name)
					} else {
						acked[ack.First.Offset] = fmt.Sprintf(`{"id":"%s-0"}`, name)
					}
					mu.Unlock()
				}
			})
		}
	}
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(acked)
	}
	waitFor := func(n int) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); count() < n; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d of %d records acknowledged", count(), n)
			}
		}
	}
	waitFor(50)
	before := count()
	if err := servers[leader(t, url, "tarn_telemetry_0")].Process.Kill(); err != nil { // SIGKILL
		t.Fatal(err)
	}
	waitFor(before + 100)
	close(stop)
	wg.Wait()

	// Both nodes see the same log.
	for _, s := range nodes {
		defer s.Close()
		r, err := s.Reader(context.Background(), 0, stream.Cursor{})
		if err != nil {
			t.Fatal(err)
		}
		end, err := s.Latest(context.Background(), 0)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]uint64{}
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		for at := uint64(0); at < end.Offset; {
			en, err := r.Next(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if en.Batch.Base != at {
				t.Fatalf("offset %d follows %d", en.Batch.Base, at)
			}
			for _, seg := range en.Batch.Segments {
				for _, rec := range seg.Records() {
					if other, ok := seen[string(rec)]; ok {
						t.Errorf("%s is at %d and %d", rec, other, at)
					}
					seen[string(rec)] = at
					if want, ok := acked[at]; ok && want != string(rec) {
						t.Errorf("offset %d holds %s, acknowledged for %s", at, rec, want)
					}
					at++
				}
			}
		}
		r.Close()
		for off := range acked {
			if off >= end.Offset {
				t.Errorf("the record acknowledged at %d is lost", off)
			}
		}
	}
	t.Logf("%d acknowledged before the kill, %d in all, %d failed", before, count(), failed)
}

// TestSplit: the limit of an external server is kept by splitting, and a repeat of a split request
// adds nothing.
func TestSplit(t *testing.T) {
	srv := runServer(t, &server.Options{Port: -1, StoreDir: t.TempDir(), MaxPayload: 64 << 10, SyncAlways: true})
	e := connect(t, srv.ClientURL(), 1)
	var largest int
	s := open(t, e, stream.Config{OnCommit: func(c stream.Commit) { largest = max(largest, c.Bytes) }})
	defer s.Close()
	mustAppend(t, s, 0, lines("before", 1), "")
	seg := body(1000)
	first := mustAppend(t, s, 0, seg, "key")
	if first.Count != 1000 || first.First.Offset != 1 || first.Last.Offset != 1000 || first.Duplicate {
		t.Fatalf("%+v", first)
	}
	again := mustAppend(t, s, 0, seg, "key")
	if !again.Duplicate || again.First != first.First || again.Last != first.Last || again.Count != 1000 {
		t.Fatalf("%+v", again)
	}
	if _, got := readAll(t, s, 0, stream.Cursor{}); len(got) != 1001 {
		t.Fatal(len(got))
	}
	if largest > 64<<10 || largest < 32<<10 {
		t.Fatalf("the largest message has %d bytes", largest)
	}
	huge := record.Segment{Format: record.Opaque, Count: 1, Payload: record.AppendRecord(nil, make([]byte, 70<<10), false)}
	if _, err := s.Append(context.Background(), 0, huge, ""); tarn.CodeOf(err) != tarn.CodeTooLarge {
		t.Fatal(err)
	}
}
