//go:build !linux

package telemetry

// DropProgramPages does nothing here.
func DropProgramPages() {}
