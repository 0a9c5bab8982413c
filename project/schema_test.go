package project_test

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/tarn-data/tarn/project"
	v1 "github.com/tarn-data/tarn/project/v1"
)

// The committed files hold what the model generates; -update rewrites them.
func TestGeneratedFiles(t *testing.T) {
	for name, got := range map[string][]byte{"schema.json": project.JSONSchema(), "REFERENCE.md": project.Reference()} {
		if *update {
			if err := os.WriteFile(name, got, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is stale: go test ./project -run TestGeneratedFiles -update", name)
		}
	}
}

func TestJSONSchemaDescribesEveryKey(t *testing.T) {
	var root any
	if err := json.Unmarshal(project.JSONSchema(), &root); err != nil {
		t.Fatal(err)
	}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			if props, ok := v["properties"].(map[string]any); ok {
				if v["additionalProperties"] != false {
					t.Errorf("%s is open to unknown keys", path)
				}
				for name, p := range props {
					if d, _ := p.(map[string]any)["markdownDescription"].(string); len(d) < 10 {
						t.Errorf("%s.%s is not described", path, name)
					}
				}
			}
			for k, sub := range v {
				walk(path+"."+k, sub)
			}
		case []any:
			for _, sub := range v {
				walk(path, sub)
			}
		}
	}
	walk("", root)
}

// An editor must not refuse what Load takes.
func TestJSONSchemaPatterns(t *testing.T) {
	for _, tt := range []struct {
		schema map[string]any
		values []string
	}{
		{v1.Duration(0).JSONSchema(), []string{"60s", "1h30m", "1.5h", "7d", "500ms", "2w"}},
		{v1.Name("").JSONSchema(), []string{"a", "fleet_2"}},
		{v1.TableName("").JSONSchema(), []string{"curated.telemetry"}},
		{v1.PartitionField("").JSONSchema(), []string{"ts", " hour(ts)", "Day (ts)", "bucket(16, id)", "truncate( 8,name )", `"a (b)"`, `hour("a b")`, "identity(x)", "größe"}},
		{v1.Schedule{}.JSONSchema(), []string{"*/5 * * * *", " 0  6 * JAN MON-FRI "}},
		{v1.MaskMethod{}.JSONSchema()["anyOf"].([]any)[0].(map[string]any), []string{"hash", "redact", "truncate(4)"}},
		{v1.VariableName("").JSONSchema(), []string{"API_KEY", "_x", "a1"}},
		{v1.Address("").JSONSchema(), []string{"127.0.0.1:8080", ":80", "[::1]:8080"}},
		{v1.ByteSize(0).JSONSchema()["anyOf"].([]any)[1].(map[string]any), []string{"128MiB", "1 GB", "1.5KiB", "10B"}},
	} {
		re := regexp.MustCompile(tt.schema["pattern"].(string))
		for _, v := range tt.values {
			if !re.MatchString(v) {
				t.Errorf("%s does not match %q", re, v)
			}
		}
	}
}

func TestReferenceNamesEveryKey(t *testing.T) {
	ref := string(project.Reference())
	for _, key := range []string{"version", "engines.metadata", "limits.query_timeout", "stream.partition_key", "schema[].type", "transform[].sql",
		"deliver[].buffer.size", "deliver[].maintenance.snapshot_age", "source.http",
		"source.files.csv.delimiter", "source.schedule", "transform[].validate[].on_fail", "transform[].mask[].method", "deliver[].database.key", "deliver[].when",
		"zones.raw.expire_after", "batch.records", "environment[].name"} {
		if !strings.Contains(ref, "| `"+key+"` |") {
			t.Errorf("the reference lacks %s", key)
		}
	}
}
