package function

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// controlFD is the child's connection to the pool.
const controlFD control = 3

// control reads a descriptor that must stay open. An *os.File would not do: the garbage collector closes the
// descriptor of one that is not used any more, and with it the connection before the child has sent its report.
type control int

// Read implements io.Reader.
func (c control) Read(b []byte) (int, error) {
	for {
		switch n, err := unix.Read(int(c), b); {
		case err == unix.EINTR:
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// becomeWorker isolates this process and replaces it by the function. It does not return.
func becomeWorker() {
	runtime.LockOSThread() // credentials and Landlock belong to a thread; this one becomes the function
	unix.CloseOnExec(int(controlFD))
	// The kernel clears this when credentials change, and confine sets it again.
	_ = unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0)
	p, err := readPlan(controlFD)
	if err != nil {
		os.Exit(125) // nobody is there to read why
	}
	if err := p.become(); err != nil {
		send(report{Error: err.Error()}, nil)
		os.Exit(126)
	}
	os.Exit(0)
}

// readPlan reads what this child shall become.
func readPlan(from io.Reader) (plan, error) {
	var size [4]byte
	if _, err := io.ReadFull(from, size[:]); err != nil {
		return plan{}, err
	}
	doc := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(from, doc); err != nil {
		return plan{}, err
	}
	var p plan
	err := json.Unmarshal(doc, &p)
	return p, err
}

// send writes a report with descriptors to the pool.
func send(r report, fds []int) {
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	_ = unix.Sendmsg(int(controlFD), r.encode(), rights, nil, 0)
}

// become does what the plan says. It returns only with an error, or at the end of a probe.
func (p plan) become() error {
	listener, port, err := p.listen()
	if err != nil {
		return fmt.Errorf("listen on 127.0.0.1: %w", err)
	}
	code, run := p.Code, p.Runtime
	fds := []int{listener}
	if p.Namespaces {
		code, run = "/var/task", "/var/runtime"
		if err := p.buildView(); err != nil {
			return err
		}
		tmp, err := unix.Open("/tmp", unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		fds = append(fds, tmp)
	}
	if err := unix.Chdir(code); err != nil {
		return fmt.Errorf("enter the code folder: %w", err)
	}
	var rep report
	if p.Confine {
		if err := p.confine(&rep, port); err != nil {
			return err
		}
	}
	send(rep, fds)
	if p.Probe {
		return nil
	}
	return p.exec(strings.NewReplacer("{code}", code, "{runtime}", run), "127.0.0.1:"+strconv.Itoa(port))
}

// exec becomes the function.
func (p plan) exec(where *strings.Replacer, api string) error {
	argv := make([]string, len(p.Spec.Argv))
	for i, arg := range p.Spec.Argv {
		argv[i] = where.Replace(arg)
	}
	for i, variable := range p.Spec.Env {
		if strings.HasPrefix(variable, "AWS_LAMBDA_RUNTIME_API=") {
			p.Spec.Env[i] = "AWS_LAMBDA_RUNTIME_API=" + api
		}
	}
	// This program marks its own descriptors, but not those that whoever started it left open.
	_ = unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC)
	unix.Umask(0o022)
	err := unix.Exec(argv[0], argv, p.Spec.Env)
	hint := ""
	switch {
	case errors.Is(err, unix.EACCES):
		hint = "; it and its folder must be readable and executable for others"
	case errors.Is(err, unix.ENOENT):
		hint = "; it or the interpreter or library it names is not there"
	}
	return fmt.Errorf("start %s: %w%s", argv[0], err, hint)
}

// listen opens the Runtime API's socket inside the namespace and returns its descriptor and port.
// Whoever holds the descriptor serves it, wherever he is.
func (p plan) listen() (fd, port int, err error) {
	if p.Namespaces && !p.Network {
		if err := loopbackUp(); err != nil {
			return 0, 0, err
		}
		port = 9001 // as in AWS Lambda; nobody else is here
	}
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, 0, err
	}
	at := &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}
	if err := unix.Bind(fd, at); err != nil {
		return 0, 0, err
	}
	if err := unix.Listen(fd, 64); err != nil {
		return 0, 0, err
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		return 0, 0, err
	}
	return fd, bound.(*unix.SockaddrInet4).Port, nil
}

// loopbackUp brings up the loopback interface of a new network namespace.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req)
}
