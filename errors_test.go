package tarn

import (
	"errors"
	"fmt"
	"io"
	"testing"
)

func TestError(t *testing.T) {
	e := &Error{Code: CodeTooLarge, Detail: "the body is over 16MiB", Hint: "send less", Err: io.ErrUnexpectedEOF}
	if got := e.Error(); got != "the body is over 16MiB; send less: unexpected EOF" {
		t.Error(got)
	}
	wrapped := fmt.Errorf("while reading: %w", e)
	if CodeOf(wrapped) != CodeTooLarge || !errors.Is(wrapped, io.ErrUnexpectedEOF) {
		t.Error("the code or the cause is lost")
	}
	if CodeOf(io.EOF) != CodeInternal || CodeOf(nil) != CodeInternal {
		t.Error("an error without a code is not internal")
	}
}
