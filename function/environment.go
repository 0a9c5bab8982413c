package function

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Values that AWS gives and that mean nothing here. Clients of AWS services refuse to work without a
// region, so there is one.
const (
	region  = "us-east-1"
	version = "$LATEST"
)

// arn is the name that Lambda-Runtime-Invoked-Function-Arn carries.
func arn(name string) string {
	return "arn:aws:lambda:" + region + ":000000000000:function:" + name
}

// reservedNames are the variables that the runtime sets and nobody else
// (https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html).
var reservedNames = []string{"_HANDLER", "_X_AMZN_TRACE_ID", "AWS_EXECUTION_ENV", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR"}

func reserved(name string) bool {
	return strings.HasPrefix(name, "AWS_LAMBDA_") || slices.Contains(reservedNames, name)
}

// places say where a worker finds things; they differ with and without a mount namespace.
type places struct {
	code    string // the code folder
	runtime string // the folder of the bootstraps
	tmp     string // a folder it may write
	api     string // host:port of its Runtime API
}

// environ returns the complete environment of a worker, sorted. Nothing is inherited from this process.
func (s Spec) environ(at places) []string {
	env := map[string]string{
		"PATH":            "/usr/local/bin:/usr/bin:/bin:" + at.code + "/bin",
		"LD_LIBRARY_PATH": at.code + ":" + at.code + "/lib",
		"LANG":            "C.UTF-8",
		"TZ":              ":UTC",
		"HOME":            at.tmp,
		"TMPDIR":          at.tmp,
		"AWS_REGION":      region, "AWS_DEFAULT_REGION": region,
	}
	switch s.Runtime {
	case RuntimePython:
		env["PYTHONPATH"] = at.runtime
		env["PYTHONDONTWRITEBYTECODE"] = "1" // the code folder is read-only
	case RuntimeProvided: // most are Go programs; see docs/adr/0016
		env["GOGC"] = "400"
		env["GOMEMLIMIT"] = strconv.FormatInt(s.MemoryBytes/8*7, 10)
	case RuntimeNode:
		env["NODE_PATH"] = at.code + "/node_modules:" + at.runtime
	}
	maps.Copy(env, s.Environment)
	for name, value := range s.Secrets {
		env[name] = value.Reveal()
	}
	maps.Copy(env, map[string]string{
		"_HANDLER":                        s.Handler,
		"LAMBDA_TASK_ROOT":                at.code,
		"LAMBDA_RUNTIME_DIR":              at.runtime,
		"AWS_LAMBDA_RUNTIME_API":          at.api,
		"AWS_LAMBDA_FUNCTION_NAME":        s.Name,
		"AWS_LAMBDA_FUNCTION_VERSION":     version,
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": strconv.FormatInt(s.MemoryBytes>>20, 10),
		"AWS_LAMBDA_INITIALIZATION_TYPE":  "on-demand",
		"AWS_LAMBDA_LOG_GROUP_NAME":       "/aws/lambda/" + s.Name,
		"AWS_LAMBDA_LOG_STREAM_NAME":      s.Name,
		"AWS_EXECUTION_ENV":               "AWS_Lambda_" + s.Runtime,
	})
	out := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		out = append(out, name+"="+env[name])
	}
	return out
}
