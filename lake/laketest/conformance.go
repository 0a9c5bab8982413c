package laketest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tarn-data/tarn/lake"
)

// Run tests a bucket against the contract of lake.Bucket. open returns an empty bucket.
func Run(t *testing.T, open func(t *testing.T) lake.Bucket) {
	for _, c := range []struct {
		name string
		test func(*testing.T, lake.Bucket)
	}{
		{"put and read back", putAndRead}, {"put replaces, open readers keep the old", replaces},
		{"a reader that fails leaves nothing", failingReader}, {"a canceled put leaves nothing", canceledPut},
		{"put file moves the file", putFile}, {"put file in place", putFileInPlace}, {"put files", putFiles},
		{"missing objects", missing}, {"delete", deletes}, {"list", lists}, {"list prefixes", listPrefixes},
		{"malformed keys", badKeys}, {"URL and Key are inverse", urls}, {"concurrent use", concurrent},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

func put(t *testing.T, b lake.Bucket, key, body string) {
	t.Helper()
	if err := b.Put(t.Context(), key, strings.NewReader(body)); err != nil {
		t.Fatal(err)
	}
}

func wantBody(t *testing.T, b lake.Bucket, key, body string) {
	t.Helper()
	got, err := lake.ReadAll(t.Context(), b, key)
	if err != nil || string(got) != body {
		t.Fatalf("%s holds %.60q, %v; want %.60q", key, got, err, body)
	}
}

func wantMissing(t *testing.T, b lake.Bucket, key string) {
	t.Helper()
	if _, err := b.Stat(t.Context(), key); !errors.Is(err, lake.ErrNotFound) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Stat(%s) = %v, want ErrNotFound", key, err)
	}
	if o, err := b.Open(t.Context(), key); !errors.Is(err, lake.ErrNotFound) {
		t.Errorf("Open(%s) = %v, %v, want ErrNotFound", key, o, err)
	}
}

func listed(t *testing.T, b lake.Bucket, prefix string) []string {
	t.Helper()
	var out []string
	for info, err := range b.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, info.Key)
	}
	return out
}

func putAndRead(t *testing.T, b lake.Bucket) {
	for _, size := range []int{0, 1, 1 << 20} {
		body := strings.Repeat("x", size)
		key := fmt.Sprintf("raw/a/%d.bin", size)
		put(t, b, key, body)
		wantBody(t, b, key, body)
		info, err := b.Stat(t.Context(), key)
		if err != nil || info.Size != int64(size) || info.Key != key || info.Modified.IsZero() {
			t.Errorf("Stat = %+v, %v", info, err)
		}
	}
	put(t, b, "raw/numbers", "0123456789")
	o, err := b.Open(t.Context(), "raw/numbers")
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	part := make([]byte, 3)
	if _, err := o.ReadAt(part, 4); err != nil || string(part) != "456" || o.Size() != 10 {
		t.Errorf("ReadAt = %q, %v; size %d", part, err, o.Size())
	}
	if _, err := o.Seek(-2, io.SeekEnd); err != nil {
		t.Error(err)
	}
	if rest, err := io.ReadAll(o); err != nil || string(rest) != "89" {
		t.Errorf("the rest is %q, %v", rest, err)
	}
}

func replaces(t *testing.T, b lake.Bucket) {
	put(t, b, "a/k", "old")
	o, err := b.Open(t.Context(), "a/k")
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	put(t, b, "a/k", "newer")
	wantBody(t, b, "a/k", "newer")
	if got, err := io.ReadAll(o); err != nil || string(got) != "old" {
		t.Errorf("the open reader got %q, %v", got, err)
	}
}

type failing struct{ n int }

func (f *failing) Read(p []byte) (int, error) {
	if f.n--; f.n < 0 {
		return 0, errors.New("the source broke")
	}
	return copy(p, "data"), nil
}

func failingReader(t *testing.T, b lake.Bucket) {
	if err := b.Put(t.Context(), "a/broken", &failing{n: 3}); err == nil {
		t.Error("no error")
	}
	wantMissing(t, b, "a/broken")
	put(t, b, "a/kept", "kept")
	if err := b.Put(t.Context(), "a/kept", &failing{n: 3}); err == nil {
		t.Error("no error")
	}
	wantBody(t, b, "a/kept", "kept")
	if got := listed(t, b, ""); !slices.Equal(got, []string{"a/kept"}) {
		t.Errorf("listed %v", got)
	}
}

func canceledPut(t *testing.T, b lake.Bucket) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Put(ctx, "a/k", strings.NewReader("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("Put = %v", err)
	}
	wantMissing(t, b, "a/k")
}

func local(t *testing.T, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "local.parquet")
	if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func putFile(t *testing.T, b lake.Bucket) {
	path := local(t, "PAR1")
	if err := b.PutFile(t.Context(), "curated/t/hour=03/x.parquet", path); err != nil {
		t.Fatal(err)
	}
	wantBody(t, b, "curated/t/hour=03/x.parquet", "PAR1")
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the local file is still there: %v", err)
	}
	if err := b.PutFile(t.Context(), "curated/t/y.parquet", path); err == nil {
		t.Error("a missing local file gave no error")
	}
	wantMissing(t, b, "curated/t/y.parquet")
}

func putFileInPlace(t *testing.T, b lake.Bucket) {
	put(t, b, "curated/t/x.parquet", "PAR1")
	url := b.URL("curated/t/x.parquet")
	if !filepath.IsAbs(url) {
		t.Skip("not a local bucket")
	}
	if err := b.PutFile(t.Context(), "curated/t/x.parquet", url); err != nil {
		t.Fatal(err)
	}
	wantBody(t, b, "curated/t/x.parquet", "PAR1")
}

func putFiles(t *testing.T, b lake.Bucket) {
	var files []lake.Local
	for i := range 40 {
		files = append(files, lake.Local{Key: fmt.Sprintf("curated/t/hour=%02d/f.parquet", i), Path: local(t, fmt.Sprint(i))})
	}
	if err := lake.PutFiles(t.Context(), b, files); err != nil {
		t.Fatal(err)
	}
	for i, f := range files {
		wantBody(t, b, f.Key, fmt.Sprint(i))
	}
}

func missing(t *testing.T, b lake.Bucket) {
	put(t, b, "a/b/c", "x")
	for _, key := range []string{"nothing", "a/b", "a", "a/b/c/d", "a/bc"} {
		wantMissing(t, b, key)
	}
}

func deletes(t *testing.T, b lake.Bucket) {
	put(t, b, "a/b", "x")
	put(t, b, "a/c", "y")
	for range 2 { // the second time there is nothing to delete
		if err := b.Delete(t.Context(), "a/b"); err != nil {
			t.Fatal(err)
		}
	}
	wantMissing(t, b, "a/b")
	wantBody(t, b, "a/c", "y")
	if err := b.Delete(t.Context(), "no/such/folder/k"); err != nil {
		t.Error(err)
	}
	put(t, b, "a/b", "again")
	wantBody(t, b, "a/b", "again")
}

func lists(t *testing.T, b lake.Bucket) {
	if got := listed(t, b, ""); len(got) != 0 {
		t.Errorf("an empty bucket lists %v", got)
	}
	var want []string
	for _, key := range rand.Perm(30) {
		k := fmt.Sprintf("z%d/t%d/f%d", key%3, key%5, key)
		put(t, b, k, "x")
		want = append(want, k)
	}
	for _, k := range []string{"d/x", "d-1", "d0", "d.x"} { // "d-1" < "d.x" < "d/x" < "d0"
		put(t, b, k, "x")
		want = append(want, k)
	}
	slices.Sort(want)
	if got := listed(t, b, ""); !slices.Equal(got, want) {
		t.Errorf("listed %v\nwant   %v", got, want)
	}
	n := 0
	for range b.List(t.Context(), "") {
		if n++; n == 3 {
			break
		}
	}
	if n != 3 {
		t.Errorf("break after %d", n)
	}
}

func listPrefixes(t *testing.T, b lake.Bucket) {
	for _, k := range []string{"curated/t/a", "curated/t/b/c", "curated/t-1/d", "curated/t2/e", "raw/t/f"} {
		put(t, b, k, "x")
	}
	for prefix, want := range map[string][]string{
		"curated/t/":   {"curated/t/a", "curated/t/b/c"},
		"curated/t":    {"curated/t-1/d", "curated/t/a", "curated/t/b/c", "curated/t2/e"},
		"curated/t/b":  {"curated/t/b/c"},
		"curated/t/a":  {"curated/t/a"},
		"curated/t/a/": nil,
		"none/":        nil,
		"none":         nil,
		"r":            {"raw/t/f"},
	} {
		if got := listed(t, b, prefix); !slices.Equal(got, want) {
			t.Errorf("prefix %q lists %v, want %v", prefix, got, want)
		}
	}
}

func badKeys(t *testing.T, b lake.Bucket) {
	for _, key := range []string{"", "/", "/etc/passwd", "a/", "a//b", ".", "..", "../x", "a/../x", "a/./b", ".hidden", "a/.tmp/x", "a\x00b", "a\nb", `a\b`, strings.Repeat("k", 1025)} {
		if err := b.Put(t.Context(), key, strings.NewReader("x")); !errors.Is(err, lake.ErrKey) {
			t.Errorf("Put(%q) = %v, want ErrKey", key, err)
		}
		if err := b.PutFile(t.Context(), key, local(t, "x")); !errors.Is(err, lake.ErrKey) {
			t.Errorf("PutFile(%q) = %v, want ErrKey", key, err)
		}
		if _, err := b.Open(t.Context(), key); !errors.Is(err, lake.ErrKey) {
			t.Errorf("Open(%q) = %v, want ErrKey", key, err)
		}
		if _, err := b.Stat(t.Context(), key); !errors.Is(err, lake.ErrKey) {
			t.Errorf("Stat(%q) = %v, want ErrKey", key, err)
		}
		if err := b.Delete(t.Context(), key); !errors.Is(err, lake.ErrKey) {
			t.Errorf("Delete(%q) = %v, want ErrKey", key, err)
		}
	}
	for _, prefix := range []string{"../", "/", "a/../"} {
		for _, err := range b.List(t.Context(), prefix) {
			if !errors.Is(err, lake.ErrKey) {
				t.Errorf("List(%q) = %v, want ErrKey", prefix, err)
			}
		}
	}
}

func urls(t *testing.T, b lake.Bucket) {
	for _, key := range []string{"a", "curated/t/year=2026/month=11/x.parquet", "curated/t/name=a%2Fb%20c/ü.parquet"} {
		put(t, b, key, "x")
		if got, ok := b.Key(b.URL(key)); !ok || got != key {
			t.Errorf("Key(URL(%s)) = %q, %t", key, got, ok)
		}
	}
	for _, url := range []string{"", "a", "/nowhere/else", "s3://other/a", b.URL("a") + "/../../x"} {
		if key, ok := b.Key(url); ok {
			t.Errorf("Key(%q) = %q", url, key)
		}
	}
}

func concurrent(t *testing.T, b lake.Bucket) {
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 20 {
				body := bytes.Repeat([]byte{byte('a' + w)}, 1000+w)
				if err := b.Put(t.Context(), fmt.Sprintf("shared/%d", i), bytes.NewReader(body)); err != nil {
					t.Error(err)
				}
				got, err := lake.ReadAll(t.Context(), b, fmt.Sprintf("shared/%d", i))
				if err != nil || len(got) == 0 || len(got) != 1000+int(got[0]-'a') || bytes.Count(got, got[:1]) != len(got) {
					t.Errorf("a torn object of %d bytes: %v", len(got), err)
				}
			}
		})
	}
	wg.Wait()
}
