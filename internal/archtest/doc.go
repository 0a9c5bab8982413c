// Package archtest holds the rules of the source tree as tests: which package may import which, who
// alone imports a heavy dependency, and what no file may contain. Each failure names the rule and why
// it stands. The rules and their reasons are data in rules.go; docs/ARCHITECTURE.md explains the floors.
//
// What enters: the source files of the module, parsed but not compiled. What leaves: test failures.
package archtest
