package v1

import (
	"strings"
	"testing"
)

func TestTexts(t *testing.T) {
	type unmarshaler interface{ UnmarshalText([]byte) error }
	for _, tt := range []struct {
		into unmarshaler
		good []string
		bad  []string
	}{
		{new(Condition), []string{"a > 0", "a\n"}, []string{"", " \n"}},
		{new(VariableName), []string{"A", "_x", "AWS_REGION", "a1"}, []string{"", "1A", "A-B", "${A}", "_HANDLER", "AWS_LAMBDA_RUNTIME_API", "LAMBDA_TASK_ROOT", "A=B"}},
		{new(PlainText), []string{"", "a b", "$5", "${1}"}, []string{"${A}", "x${SECRET}y", strings.Repeat("x", 40<<10)}},
		{new(Handler), []string{"app.handler", "src/app.handler", "a.b.c"}, []string{"", "app", ".handler", "app.", "../a.b", "/a.b", "a//b.c", "a b.c", "a..b", "src.d/app"}},
		{new(FolderPath), []string{"landing", "landing/users/", "/srv/drop", "./a"}, []string{"", ".", "/", "..", "../a", "a/../../b", `a\b`, " a", "s3://b/c", "a\x00"}},
		{new(Glob), []string{"*", "*.csv", "[a-z]?.gz"}, []string{"", "[", "a/*"}},
		{new(Character), []string{";", "\t", "é"}, []string{"", ";;", `"`, "\n", "\r", "\xff"}},
		{new(TargetTable), []string{"users", "app.users", "_x"}, []string{"", "a.b.c", "a b", `"a"`, "1a", "a;"}},
		{new(MaskMethod), []string{"hash", "redact", "truncate(4)"}, []string{"", "truncate", "truncate()", "truncate(0)", "truncate(-1)", "truncate(4", "truncate(2000000)", "Hash"}},
		{new(DatabaseURL), []string{"postgres://u:p@h/d", "app.db", "/var/app.db"}, []string{"", "embedded", "mysql://u:p@h/d", "postgres://"}},
	} {
		for _, s := range tt.good {
			if err := tt.into.UnmarshalText([]byte(s)); err != nil {
				t.Errorf("%T %q: %v", tt.into, s, err)
			}
		}
		for _, s := range tt.bad {
			if err := tt.into.UnmarshalText([]byte(s)); err == nil || strings.Contains(err.Error(), "u:p") {
				t.Errorf("%T %q: %v", tt.into, s, err)
			}
		}
	}
}

func TestDeliveryName(t *testing.T) {
	for in, want := range map[TargetTable]Name{"users": "users", "app.Users": "users"} {
		if got := in.DeliveryName(); got != want {
			t.Errorf("%s: %s", in, got)
		}
	}
}
