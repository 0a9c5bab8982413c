package function

import (
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/tarn-data/tarn"
)

// The runtimes.
const (
	RuntimeProvided = "provided" // an executable named bootstrap in Dir that speaks the Runtime API
	RuntimePython   = "python"   // handler "module.function", run by python3
	RuntimeNode     = "node"     // handler "module.function", run by node
)

// What to do on a machine that cannot isolate completely.
const (
	SandboxAuto     = "auto"     // isolate as far as the operating system allows
	SandboxRequired = "required" // do not start with less than everything
	SandboxOff      = "off"      // do not isolate
)

// Limits and defaults.
const (
	MaxPayloadBytes    = 6 << 20 // of an event and of an answer, as in AWS Lambda
	MaxTimeout         = 15 * time.Minute
	DefaultTimeout     = 60 * time.Second
	DefaultMemoryBytes = 512 << 20
	MinMemoryBytes     = 64 << 20
	MaxConcurrency     = 1000
)

// Spec says what to run. Its zero values mean the defaults; WithDefaults writes them out.
type Spec struct {
	Name        string            // letters, digits, '-' and '_', at most 64
	Dir         string            // folder of the code, absolute
	Runtime     string            // RuntimeProvided, RuntimePython or RuntimeNode
	Handler     string            // "module.function"; passed on as it is to RuntimeProvided
	Timeout     time.Duration     // of one invocation; default 60 s, at most 15 min
	MemoryBytes int64             // of one worker with its children and its /tmp; default 512 MiB
	Concurrency int               // workers at most; default GOMAXPROCS
	Environment map[string]string // variables of the function
	Secrets     map[string]Secret // variables that must not be printed
	Network     bool              // may reach what this machine reaches
	Sandbox     string            // SandboxAuto (the default), SandboxRequired or SandboxOff
	Retries     int               // how often the caller should repeat a failed invocation; not used here
}

// Secret is a value that is never printed (I7): every way of formatting it gives "[secret]".
type Secret string

const redacted = "[secret]"

// String implements fmt.Stringer without the value.
func (Secret) String() string { return redacted }

// Format implements fmt.Formatter for every verb without the value.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue implements slog.LogValuer without the value.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements encoding.TextMarshaler without the value.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Reveal returns the value, for the environment of the function and nothing else.
func (s Secret) Reveal() string { return string(s) }

// minSecretBytes is the length from which a secret is recognised in text; shorter ones occur by chance.
const minSecretBytes = 4

// redactor replaces secrets in what a function prints or reports, before it reaches a log or an error
// (I7). The function has them and can encode them in ways that are not recognised; this is for accidents.
func redactor(secrets map[string]Secret) *strings.Replacer {
	var pairs []string
	for _, secret := range secrets {
		if len(secret) >= minSecretBytes {
			pairs = append(pairs, secret.Reveal(), redacted)
		}
	}
	return strings.NewReplacer(pairs...)
}

// WithDefaults returns the spec with every zero value replaced by its default.
func (s Spec) WithDefaults() Spec {
	if s.Timeout == 0 {
		s.Timeout = DefaultTimeout
	}
	if s.MemoryBytes == 0 {
		s.MemoryBytes = DefaultMemoryBytes
	}
	if s.Concurrency == 0 {
		s.Concurrency = runtime.GOMAXPROCS(0)
	}
	if s.Sandbox == "" {
		s.Sandbox = SandboxAuto
	}
	return s
}

var (
	nameForm     = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	variableForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// Validate reports the first fault as a *tarn.Error with CodeInvalid. It looks at the values only;
// whether folder and interpreter exist is seen by Start.
func (s Spec) Validate() error {
	s = s.WithDefaults()
	switch {
	case !nameForm.MatchString(s.Name):
		return s.fault(fmt.Sprintf("the name %q is not allowed", s.Name), "use 1 to 64 letters, digits, '-' and '_'")
	case !filepath.IsAbs(s.Dir):
		return s.fault(fmt.Sprintf("the code folder %q is not an absolute path", s.Dir), "give the whole path")
	case !slices.Contains([]string{RuntimeProvided, RuntimePython, RuntimeNode}, s.Runtime):
		return s.fault(fmt.Sprintf("there is no runtime %q", s.Runtime), "use provided, python or node")
	case !slices.Contains([]string{SandboxAuto, SandboxRequired, SandboxOff}, s.Sandbox):
		return s.fault(fmt.Sprintf("there is no sandbox mode %q", s.Sandbox), "use auto, required or off")
	case s.Runtime != RuntimeProvided && !handlerIsWhole(s.Handler):
		return s.fault(fmt.Sprintf("the handler %q does not name a module and a function", s.Handler),
			"write module.function, for example app.handler for the function handler in app.py or app.mjs")
	case s.Timeout < time.Millisecond || s.Timeout > MaxTimeout:
		return s.fault(fmt.Sprintf("the timeout %v is out of range", s.Timeout), "choose one between 1ms and 15m")
	case s.MemoryBytes < MinMemoryBytes:
		return s.fault(fmt.Sprintf("a memory of %d MiB is too small", s.MemoryBytes>>20), "give at least 64MiB")
	case s.Concurrency < 1 || s.Concurrency > MaxConcurrency:
		return s.fault(fmt.Sprintf("a concurrency of %d is out of range", s.Concurrency), "choose one between 1 and 1000")
	case s.Retries < 0:
		return s.fault("the number of retries is negative", "use 0 or more")
	}
	return s.validateEnvironment()
}

func (s Spec) validateEnvironment() error {
	for _, name := range slices.Sorted(maps.Keys(s.Environment)) {
		if err := s.validateVariable(name, s.Environment[name]); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Secrets)) {
		if _, twice := s.Environment[name]; twice {
			return s.fault(fmt.Sprintf("%s is both an environment variable and a secret", name), "give it once")
		}
		if err := s.validateVariable(name, s.Secrets[name].Reveal()); err != nil {
			return err
		}
	}
	return nil
}

// validateVariable never puts the value into its error (I7).
func (s Spec) validateVariable(name, value string) error {
	switch {
	case !variableForm.MatchString(name):
		return s.fault(fmt.Sprintf("%q is not the name of an environment variable", name), "use letters, digits and '_'")
	case reserved(name):
		return s.fault(fmt.Sprintf("the environment variable %s is set by the runtime", name), "choose another name")
	case strings.ContainsRune(value, 0):
		return s.fault(fmt.Sprintf("the value of %s holds a zero byte", name), "an environment variable cannot hold it")
	}
	return nil
}

func (s Spec) fault(detail, hint string) error {
	where := "function"
	if s.Name != "" {
		where += " " + s.Name
	}
	return &tarn.Error{Code: tarn.CodeInvalid, Detail: where + ": " + detail, Hint: hint}
}

// handlerIsWhole reports whether a handler has a module and a function part and stays in its folder.
func handlerIsWhole(handler string) bool {
	dot := strings.LastIndexByte(handler, '.')
	if dot <= 0 || dot == len(handler)-1 || strings.ContainsAny(handler, "\x00\n") {
		return false
	}
	return filepath.IsLocal(handler[:dot])
}
