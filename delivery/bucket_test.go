package delivery

import (
	"fmt"
	"testing"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck"
	"github.com/tarn-data/tarn/table"
)

// TestBuckets holds the SQL against the Go implementation that other engines' files were read with.
func TestBuckets(t *testing.T) {
	db, err := duck.Open(duck.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := defineBuckets(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	f := tarn.PartitionField{Source: "x", Transform: tarn.Bucket, Param: 1_000_000}
	check := func(k tarn.Kind, sql string, v any) {
		t.Helper()
		got, err := db.Values(t.Context(), sql, v)
		if err != nil {
			t.Fatal(sql, err)
		}
		want, err := table.Transform(f, tarn.Type{Kind: k}, v)
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(got[0][0]) != fmt.Sprint(want) {
			t.Errorf("%v: %v, want %v", v, got[0][0], want)
		}
	}
	for _, v := range []int64{0, 1, -1, 34, 1 << 40, -1 << 62, 9223372036854775807, -9223372036854775808} {
		check(tarn.Long, "SELECT iceberg_bucket_long($1::BIGINT, 1000000)", v)
	}
	for _, v := range []string{"", "a", "ab", "abc", "abcd", "iceberg", "wagon-0001", "zweiundzwanzig Wörter und ein 🚂"} {
		check(tarn.String, "SELECT iceberg_bucket_text($1::VARCHAR, 1000000)", v)
	}
}
