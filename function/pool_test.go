package function_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tarn-data/tarn/function"
)

func TestMain(m *testing.M) {
	function.Child()
	os.Exit(m.Run())
}

func TestFirst(t *testing.T) {
	dir, _ := filepath.Abs("testdata/python")
	logs := function.NewLogs(function.LogsOptions{})
	p := function.New(function.Options{Spec: function.Spec{Name: "x", Dir: dir, Runtime: "python", Handler: "app.echo"}, WorkDir: t.TempDir(), Logs: logs})
	defer p.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := p.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Log(p.Isolation())
	out, err := p.Invoke(ctx, function.Invocation{Payload: []byte(`{"a":1}`)})
	t.Log(string(out), err)
	for _, l := range logs.Tail(-1) {
		t.Log(l)
	}
	t.Logf("%+v", p.Stats())
}
