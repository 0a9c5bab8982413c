package function_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/function"
)

func TestValidate(t *testing.T) {
	good := func() function.Spec {
		return function.Spec{Name: "enrich", Dir: "/code", Runtime: "python", Handler: "app.handler"}
	}
	for name, tc := range map[string]struct {
		change func(*function.Spec)
		fault  string // "" for none
	}{
		"good":             {func(*function.Spec) {}, ""},
		"nested handler":   {func(s *function.Spec) { s.Handler = "src/app.handler" }, ""},
		"longest":          {func(s *function.Spec) { s.Timeout = 15 * time.Minute }, ""},
		"provided":         {func(s *function.Spec) { s.Runtime, s.Handler = "provided", "" }, ""},
		"no name":          {func(s *function.Spec) { s.Name = "" }, "name"},
		"name with slash":  {func(s *function.Spec) { s.Name = "../x" }, "name"},
		"relative folder":  {func(s *function.Spec) { s.Dir = "code" }, "absolute"},
		"runtime":          {func(s *function.Spec) { s.Runtime = "ruby" }, "ruby"},
		"handler":          {func(s *function.Spec) { s.Handler = "app" }, "handler"},
		"handler outside":  {func(s *function.Spec) { s.Handler = "../app.handler" }, "handler"},
		"handler absolute": {func(s *function.Spec) { s.Handler = "/app.handler" }, "handler"},
		"too long":         {func(s *function.Spec) { s.Timeout = 16 * time.Minute }, "timeout"},
		"negative timeout": {func(s *function.Spec) { s.Timeout = -1 }, "timeout"},
		"small memory":     {func(s *function.Spec) { s.MemoryBytes = 1 << 20 }, "memory"},
		"concurrency":      {func(s *function.Spec) { s.Concurrency = -1 }, "concurrency"},
		"retries":          {func(s *function.Spec) { s.Retries = -1 }, "retries"},
		"sandbox":          {func(s *function.Spec) { s.Sandbox = "yes" }, "sandbox"},
		"variable":         {func(s *function.Spec) { s.Environment = map[string]string{"a b": "1"} }, "a b"},
		"reserved":         {func(s *function.Spec) { s.Environment = map[string]string{"AWS_LAMBDA_RUNTIME_API": "1"} }, "runtime"},
		"reserved secret":  {func(s *function.Spec) { s.Secrets = map[string]function.Secret{"_HANDLER": "1"} }, "runtime"},
		"zero byte":        {func(s *function.Spec) { s.Secrets = map[string]function.Secret{"P": "hunter2\x00"} }, "zero byte"},
		"twice": {func(s *function.Spec) {
			s.Environment, s.Secrets = map[string]string{"P": "1"}, map[string]function.Secret{"P": "hunter2"}
		}, "both"},
	} {
		t.Run(name, func(t *testing.T) {
			s := good()
			tc.change(&s)
			err := s.Validate()
			if tc.fault == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || tarn.CodeOf(err) != tarn.CodeInvalid || !strings.Contains(err.Error(), tc.fault) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestSecretRedacts tries every usual way to print a secret (I7).
func TestSecretRedacts(t *testing.T) {
	spec := function.Spec{Secrets: map[string]function.Secret{"P": "hunter2"}}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "spec", spec, "secret", spec.Secrets["P"])
	asJSON, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []string{fmt.Sprint(spec), fmt.Sprintf("%+v %#v %s %q %x %d", spec, spec, spec.Secrets["P"], spec.Secrets["P"], spec.Secrets["P"], spec.Secrets["P"]), log.String(), string(asJSON)} {
		if strings.Contains(got, "hunter2") || strings.Contains(got, fmt.Sprintf("%x", "hunter2")) {
			t.Errorf("printed: %s", got)
		}
	}
	if spec.Secrets["P"].Reveal() != "hunter2" {
		t.Error("Reveal lost it")
	}
}

// TestSecretsOfFunctions lets a function print and report its secret (I7).
func TestSecretsOfFunctions(t *testing.T) {
	logs := function.NewLogs(function.LogsOptions{})
	var log strings.Builder
	spec := python("app.act")
	spec.Secrets = map[string]function.Secret{"PASSWORD": "hunter2"}
	p := start(t, function.Options{Spec: spec, Logs: logs, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	_, failed := invoke(t, p, `{"print":"my hunter2 is","raise":"hunter2"}`)
	_, ended := invoke(t, p, `{"error":"it was hunter2","exit":1}`)
	var f *function.FunctionError
	if !errors.As(failed, &f) || f.Message != "[secret]" {
		t.Errorf("got %v", failed)
	}
	said := fmt.Sprint(failed, f, ended, p.Stats(), logs.Tail(-1))
	if err := p.Close(); err != nil { // nothing is logged any more
		t.Fatal(err)
	}
	if said += log.String(); strings.Contains(said, "hunter2") || !strings.Contains(said, "it was [secret]") || !strings.Contains(said, "my [secret] is") {
		t.Error(said)
	}
}
