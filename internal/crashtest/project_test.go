package crashtest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tarn-data/tarn/project"
)

// The project has one pipeline that infers everything, one that declares everything, and one whose
// records go through a function and a rule that both fail some, so that all ways through delivery are
// killed. Buffers are the smallest that the model allows.
var projectFiles = map[string]string{
	"tarn.yaml": "version: 1\nname: crash\n",
	"pipelines/events.yaml": `
pipeline: events
deliver:
  - table: curated.events
    raw_backup: true
    partition_by: [hour(ts)]
    buffer: {size: 1MiB, interval: 1s}
    maintenance: {snapshot_age: 1m, snapshot_count: 1}
`,
	"pipelines/orders.yaml": `
pipeline: orders
stream: {shards: 2, partition_key: producer}
schema:
  id: VARCHAR
  producer: VARCHAR
  n: BIGINT
  ts: TIMESTAMP
  region: VARCHAR
  lines: STRUCT(sku VARCHAR, quantity BIGINT)[]
transform:
  - sql: SELECT *, len(lines) AS line_count FROM records
deliver:
  - table: curated.orders
    raw_backup: true
    partition_by: [region]
    buffer: {size: 1MiB, interval: 1s}
    compression: zstd
    maintenance: {snapshot_age: 1m, snapshot_count: 1}
`,
	"pipelines/enriched.yaml": `
pipeline: enriched
transform:
  - function: enrich
  - validate: [{name: ninth, check: n % 50 <> 9, on_fail: fail_record}]
deliver:
  - table: curated.enriched
    raw_backup: true
    buffer: {size: 1MiB, interval: 1s}
    maintenance: {snapshot_age: 1m, snapshot_count: 1}
`,
	"functions/enrich/function.yaml": "runtime: python\nhandler: app.handler\nbatch: {wait: 20ms}\n",
	"functions/enrich/app.py": `import base64, json

def handler(event, context):
    records = []
    for r in event['records']:
        doc = json.loads(base64.b64decode(r['data']))
        doc['enriched'] = doc['n'] * 2
        result = 'ProcessingFailed' if doc['n'] % 50 == 7 else 'Ok'
        records.append({'recordId': r['recordId'], 'result': result, 'data': base64.b64encode(json.dumps(doc).encode()).decode()})
    return {'records': records}
`,
}

// relations are the SQL over which the ids of each pipeline are counted: each record is in the table or
// failed, and in the raw backup.
func relations(pipeline string) []string {
	table := "curated." + pipeline
	if pipeline == "enriched" {
		table = "(SELECT id, producer, n FROM curated.enriched WHERE enriched = 2 * n UNION ALL " + idsOf("system.failed_records") + ")"
	}
	return []string{table, "(" + idsOf("raw."+pipeline) + ")"}
}

// idsOf reads the records of a table that keeps them as they were accepted.
func idsOf(table string) string {
	return "SELECT record->>'$.id' AS id, record->>'$.producer' AS producer, (record->>'$.n')::BIGINT AS n FROM " + table
}

func writeProject(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range projectFiles {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, faults := project.LoadDir(dir, project.Options{}); len(faults) > 0 {
		t.Fatal(faults)
	}
	return dir
}

// epoch is the ts of the first records; they spread over a few hours, so over a few partitions.
var epoch = time.Date(2026, 11, 20, 3, 0, 0, 0, time.UTC)

// appendRecord appends record n of a producer as one line. The id is the producer and the number, so a
// row whose id does not match its other columns was put together from two records. stage grows as the
// test goes on and changes the shape: from 1 on there is a new field, from 2 on a whole number may be a
// decimal.
func appendRecord(dst []byte, pipeline, producer string, n int, stage int32, rng *rand.Rand) []byte {
	ts := epoch.Add(time.Duration(n) * 250 * time.Millisecond).Format("2006-01-02T15:04:05.000Z")
	dst = fmt.Appendf(dst, `{"id":"%s-%08d","producer":"%s","n":%d,"ts":"%s",`, producer, n, producer, n, ts)
	if pipeline == "orders" {
		dst = fmt.Appendf(dst, `"region":"r%d","lines":[`, n%5)
		for k := range n % 3 {
			if k > 0 {
				dst = append(dst, ',')
			}
			dst = fmt.Appendf(dst, `{"sku":"s%d","quantity":%d}`, rng.IntN(1000), k)
		}
		return append(dst, "]}\n"...)
	}
	dst = fmt.Appendf(dst, `"payload":{"text":"%0100d","level":`, rng.Uint64())
	if stage >= 2 && n%2 == 0 {
		dst = fmt.Appendf(dst, `%d.5`, n%100)
	} else {
		dst = fmt.Appendf(dst, `%d`, n%100)
	}
	dst = append(dst, '}')
	if stage >= 1 {
		dst = fmt.Appendf(dst, `,"added":"a%d"`, n%7)
	}
	return append(dst, "}\n"...)
}
