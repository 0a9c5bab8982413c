package kinesis_test

import (
	"strings"
	"testing"

	"github.com/tarn-data/tarn/duck"
	"github.com/tarn-data/tarn/extract"
	"github.com/tarn-data/tarn/extract/kinesis"
	"github.com/tarn-data/tarn/project"
)

// application has a filter, a tumbling window behind it, and a FLOOR in the classic form.
const application = `-- The first stream.
CREATE OR REPLACE STREAM "TEMP" ("device" VARCHAR(16), "speed" DOUBLE, "at" TIMESTAMP) DESCRIPTION 'fast; ones';
CREATE OR REPLACE PUMP "FAST-PUMP" AS
INSERT INTO "TEMP"
SELECT STREAM "device", "speed" * 3.6, ROWTIME
FROM "SOURCE_SQL_STREAM_001"
WHERE "speed" >= 10 AND "device" LIKE 'w%';

CREATE OR REPLACE STREAM "DESTINATION_SQL_STREAM" (device VARCHAR(16), minute_start TIMESTAMP, n INTEGER, top DOUBLE);
CREATE OR REPLACE PUMP "STREAM_PUMP" AS INSERT INTO "DESTINATION_SQL_STREAM"
SELECT STREAM "device", STEP(s.ROWTIME BY INTERVAL '60' SECOND) AS "minute_start", COUNT(*) AS n, MAX("speed") AS top
FROM "TEMP" AS s
GROUP BY "device", STEP(s.ROWTIME BY INTERVAL '60' SECOND)
HAVING COUNT(*) > 1;

CREATE STREAM OTHER (ts TIMESTAMP, n BIGINT);
CREATE PUMP P3 STARTED AS INSERT INTO OTHER (n, ts)
SELECT STREAM COUNT(*), FLOOR("SOURCE_SQL_STREAM_001".ROWTIME TO MINUTE) FROM "SOURCE_SQL_STREAM_001"
GROUP BY FLOOR("SOURCE_SQL_STREAM_001".ROWTIME TO MINUTE);
`

func TestTranslate(t *testing.T) {
	got, problems := kinesis.Translate(application, kinesis.Options{Stream: "telemetry"})
	if problems != nil {
		t.Fatal(problems)
	}
	want := []kinesis.Extract{
		{Name: "fast_pump", From: "telemetry", To: "temp", SQL: `SELECT CAST("device" AS VARCHAR) AS "device",
       CAST("speed" * 3.6 AS DOUBLE) AS "speed",
       CAST(record_arrival AS TIMESTAMP) AS "at",
       record_arrival AS rowtime
FROM records
WHERE "speed" >= 10 AND "device" LIKE 'w%'
`},
		{Name: "stream_pump", From: "temp", To: "destination_sql_stream", Every: "60s", Time: "rowtime", SQL: `SELECT CAST("device" AS VARCHAR) AS "DEVICE",
       CAST(window_start AS TIMESTAMP) AS "MINUTE_START",
       CAST(COUNT(*) AS INTEGER) AS "N",
       CAST(MAX("speed") AS DOUBLE) AS "TOP",
       window_end AS rowtime
FROM records
GROUP BY window_start, window_end, "device"
HAVING COUNT(*) > 1
`},
		{Name: "p3", From: "telemetry", To: "other", Every: "60s", Time: "record_arrival", SQL: `SELECT CAST(COUNT(*) AS BIGINT) AS "N",
       CAST(window_start AS TIMESTAMP) AS "TS",
       window_end AS rowtime
FROM records
GROUP BY window_start, window_end
`},
	}
	db, err := duck.Open(duck.Options{MemoryBytes: 64 << 20, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for i, x := range got {
		w := want[i]
		if x.Name != w.Name || x.From != w.From || x.To != w.To || x.Every != w.Every || x.Time != w.Time || x.SQL != w.SQL {
			t.Errorf("got %+v\nwant %+v", x, w)
		}
		if err := extract.Check(t.Context(), db, x.SQL, project.ExtractRules{Windowed: x.Every != ""}); err != nil {
			t.Errorf("%s: %v\n%s", x.Name, err, x.SQL)
		}
	}
}

func TestProblems(t *testing.T) {
	const stream = "CREATE STREAM S (a INTEGER);\n"
	for script, want := range map[string]string{
		"":                                    "line 1: the script: it has no CREATE PUMP",
		"CREATE FUNCTION f() RETURNS INTEGER": "line 1: CREATE FUNCTION",
		"SELECT 1":                            "line 1: SELECT: only CREATE STREAM",
		"CREATE STREAM S (a INTEGER":          "line 1: ",
		"/* no end":                           "line 1: /*: the comment does not end",
		stream + "CREATE PUMP P AS INSERT INTO S SELECT STREAM a FROM \"X\";":                                                                                           "line 2: X: the script does not create this stream",
		stream + "CREATE PUMP P AS INSERT INTO T SELECT STREAM a FROM S;":                                                                                               "line 2: T: the script does not create this stream",
		stream + "CREATE PUMP P AS INSERT INTO S SELECT STREAM a, b FROM \"SOURCE_SQL_STREAM_001\";":                                                                    "line 2: SELECT: it has 2 columns, and S takes 1",
		stream + "CREATE PUMP P AS\nINSERT INTO S\nSELECT STREAM SUM(a) OVER W1 FROM \"SOURCE_SQL_STREAM_001\"\nWINDOW W1 AS (RANGE INTERVAL '10' SECOND PRECEDING);":   "line 5: WINDOW: a sliding window",
		stream + "CREATE PUMP P AS INSERT INTO S SELECT STREAM a FROM \"SOURCE_SQL_STREAM_001\" JOIN r ON true;":                                                        "line 2: JOIN: joins of streams",
		stream + "CREATE PUMP P AS INSERT INTO S SELECT STREAM a FROM TABLE(RANDOM_CUT_FOREST(CURSOR(SELECT STREAM * FROM x)));":                                        "line 2: TABLE: FROM a query or TABLE",
		stream + "CREATE PUMP P AS INSERT INTO S SELECT STREAM count(*) FROM \"SOURCE_SQL_STREAM_001\" WINDOWED BY STAGGER (PARTITION BY a RANGE INTERVAL '1' MINUTE);": "line 2: WINDOWED: a stagger window",
		stream + "CREATE PUMP P AS INSERT INTO S SELECT STREAM a FROM \"SOURCE_SQL_STREAM_001\" WHERE t < CURRENT_TIMESTAMP;":                                           "line 2: CURRENT_TIMESTAMP: what a record gives",
		stream + "CREATE PUMP P AS INSERT INTO S SELECT STREAM count(*) FROM \"SOURCE_SQL_STREAM_001\" GROUP BY a;":                                                     "line 2: GROUP BY: it groups by no time",
		stream + "CREATE PUMP P AS INSERT INTO S SELECT STREAM count(*) FROM \"SOURCE_SQL_STREAM_001\" GROUP BY STEP(ROWTIME BY INTERVAL '1' MONTH);":                   "line 2: STEP: it is translated as",
	} {
		got, problems := kinesis.Translate(script, kinesis.Options{Stream: "s"})
		if got != nil || len(problems) == 0 || !strings.HasPrefix(problems[0].String(), want) {
			t.Errorf("%s\ngot  %v\nwant %s", script, problems, want)
		}
	}
}

// Whatever stands in a script: there are extracts or problems, and each problem names a line of it.
func FuzzTranslate(f *testing.F) {
	f.Add(application)
	f.Add("CREATE PUMP \"\" AS INSERT INTO S SELECT STREAM FLOOR(")
	f.Add("CREATE STREAM S (a DECIMAL(1,2) NOT NULL, b); CREATE PUMP P AS INSERT INTO S (a) SELECT STREAM STEP(a.b.c BY INTERVAL '9' DAY(3)), FROM S GROUP BY ,")
	f.Fuzz(func(t *testing.T, src string) {
		got, problems := kinesis.Translate(src, kinesis.Options{Stream: "s"})
		if (got == nil) == (len(problems) == 0) {
			t.Fatalf("%d extracts and %d problems", len(got), len(problems))
		}
		lines := 1 + strings.Count(src, "\n")
		for _, p := range problems {
			if p.Line < 1 || p.Line > lines || p.Why == "" {
				t.Fatalf("%+v in a script of %d lines", p, lines)
			}
		}
		for _, x := range got {
			if x.YAML() == "" || x.SQL == "" || x.From == "" {
				t.Fatalf("%+v", x)
			}
		}
	})
}
