//go:build !linux

package function_test

func forbidNamespaces() {}
func runHost()          {}
