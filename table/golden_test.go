package table

import (
	"bytes"
	"flag"
	"os"
	"reflect"
	"testing"

	iceberg "github.com/apache/iceberg-go/table"

	"github.com/tarn-data/tarn"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Metadata files stay readable: the text is stable, iceberg-go accepts it, and reading it gives back
// what was written.
func TestGoldenMetadata(t *testing.T) {
	var schema tarn.Schema
	for _, c := range [][2]string{{"id", "BIGINT"}, {"ts", "TIMESTAMP"}, {"pos", "STRUCT(lat DOUBLE, tags VARCHAR[])"}, {"m", "MAP(VARCHAR, DECIMAL(9,2))"}, {"raw", "JSON"}} {
		typ, err := tarn.ParseType(c[1])
		if err != nil {
			t.Fatal(err)
		}
		schema.Fields = append(schema.Fields, tarn.Field{Name: c[0], Type: typ})
	}
	m, err := newMetadata(Definition{Name: "curated.telemetry", Schema: schema, Properties: map[string]string{"owner": "fleet-data"},
		Partition: []tarn.PartitionField{{Source: "ts", Transform: tarn.Hour}, {Source: "id", Transform: tarn.Bucket, Param: 16}}}, 1795143600000)
	if err != nil {
		t.Fatal(err)
	}
	m.uuid, m.location = "f79c3e09-677c-4bbd-a479-3f349cb785e7", "/lake/curated/telemetry"
	for i := range int64(2) {
		n := m.next("/lake/curated/telemetry/metadata/v.metadata.json", 20)
		snap := snapshot{ID: 7000000000000000001 + i, Sequence: i + 1, TimestampMS: m.updatedMS + 1, SchemaID: 1,
			ManifestList: "/lake/curated/telemetry/metadata/snap.avro", Summary: map[string]string{"operation": "append", sumRecords: "10"}}
		if i > 0 {
			snap.Parent = &m.currentID
		}
		added, err := newSnapshot(snap)
		if err != nil {
			t.Fatal(err)
		}
		n.snapshots, n.currentID, n.sequence, n.updatedMS = append(n.snapshots, added), snap.ID, snap.Sequence, snap.TimestampMS
		m = n
	}
	text, err := m.encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/metadata.golden.json"
	if *update {
		if err := os.WriteFile(golden, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(text, want) {
		t.Errorf("the text changed:\n%s\nwant\n%s", text, want)
	}
	read, err := decodeMetadata(want)
	if err != nil {
		t.Fatal(err)
	}
	again, err := read.encode(nil)
	if err != nil || !bytes.Equal(again, want) {
		t.Errorf("read and written again: %v\n%s", err, again)
	}
	sh, err := newShape(read)
	if err != nil || !sh.tarn.Equal(schema) || len(sh.partition) != 2 {
		t.Errorf("shape %+v, %v", sh, err)
	}
	theirs, err := iceberg.ParseMetadataBytes(want)
	if err != nil {
		t.Fatal(err)
	}
	if s := theirs.CurrentSnapshot(); s == nil || s.SnapshotID != read.currentID || *s.ParentSnapshotID != read.snapshots[0].ID || theirs.LastSequenceNumber() != 2 ||
		!reflect.DeepEqual(map[string]string(theirs.Properties()), read.properties) || theirs.Location() != read.location {
		t.Errorf("iceberg-go reads %+v", theirs)
	}
}
