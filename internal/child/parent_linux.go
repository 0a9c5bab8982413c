package child

import "syscall"

// dieWithParent lets the kernel kill the child when this process dies, so that a test that times out
// or is killed leaves no server behind.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
