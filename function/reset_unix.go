//go:build unix

package function

import (
	"errors"
	"net"
	"syscall"
)

// wasReset reports whether the other side reset a connection, of which reading gave err. Where it had hung up
// before, reading gives io.EOF all the same and the reset is noted beside it.
func wasReset(c net.Conn, err error) bool {
	if errors.Is(err, syscall.ECONNRESET) {
		return true
	}
	socket, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	noted := 0
	_ = raw.Control(func(fd uintptr) { noted, _ = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_ERROR) })
	return noted != 0
}
