package duck_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck"
)

// TestReach: exactly the folders that are named can be read, what runs goes on, and a file that is
// written anew is read anew.
func TestReach(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	a, b := t.TempDir(), t.TempDir()
	for _, dir := range []string{a, b} {
		if err := os.WriteFile(filepath.Join(dir, "f.csv"), []byte("id,v\n1,2\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	db, err := duck.Open(duck.Options{CacheMetadata: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	may := func(dir string, want bool) {
		t.Helper()
		_, err := db.Values(ctx, "SELECT * FROM read_csv("+tarn.QuoteLiteral(filepath.Join(dir, "f.csv"))+")")
		if (err == nil) != want {
			t.Errorf("%s: %v", dir, err)
		}
	}
	reach := func(dirs ...string) {
		t.Helper()
		if err := db.Reach(dirs); err != nil {
			t.Fatal(err)
		}
	}
	may(a, false)
	reach(a)
	may(a, true)
	may(b, false)
	rows, err := db.Query(ctx, "SELECT count(*) FROM range(100000) t(a), read_csv("+tarn.QuoteLiteral(filepath.Join(a, "f.csv"))+")")
	if err != nil {
		t.Fatal(err)
	}
	reach(b)
	if all, err := rows.All(ctx); err != nil || all[0][0] != int64(100000) {
		t.Errorf("the statement that ran: %v %v", all, err)
	}
	may(a, false)
	may(b, true)
	starts := db.Starts()
	reach(b)
	if db.Starts() != starts {
		t.Error("the same folders started another instance")
	}
	file := filepath.Join(b, "f.parquet")
	for _, want := range []string{"1", "22"} {
		if err := db.Exec(ctx, "COPY (SELECT "+want+"::INTEGER AS id) TO "+tarn.QuoteLiteral(file)+" (FORMAT parquet)"); err != nil {
			t.Fatal(err)
		}
		v, err := db.Values(ctx, "SELECT id::VARCHAR FROM read_parquet("+tarn.QuoteLiteral(file)+")")
		if err != nil || v[0][0] != want {
			t.Errorf("%v %v, want %s", v, err, want)
		}
	}
	reach()
	may(b, false)
	if err := db.Reach([]string{"relative"}); tarn.CodeOf(err) != tarn.CodeInvalid {
		t.Error(err)
	}
}
