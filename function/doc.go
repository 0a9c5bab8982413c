// Package function runs unmodified AWS Lambda code in local worker processes.
//
// What enters: a Spec (code folder, runtime, handler, limits) and invocations, each one JSON event of
// at most 6 MiB. What leaves: the function's answer, or an error that says whether the function
// refused (FunctionError), took too long (TimeoutError), died (ExitError), did not start (InitError)
// or may not run here (SandboxError); and the lines it printed, through Logs. Package engine calls it
// and keeps one Host a function; cmd/tarn calls Child first thing in main.
//
// A Pool is one version of one function: its workers, the queue before them, and what they did. A
// worker is one process that speaks the Lambda Runtime API over HTTP with the server this package
// keeps for it (https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html). A Host replaces one
// version by the next without losing an invocation.
//
// On Linux a worker starts as this very program, which builds a sandbox around itself and then
// becomes the function: new user, mount, process, network, IPC and host-name namespaces, Landlock,
// seccomp, resource limits. It sees its code at /var/task, a private /tmp and the operating system's
// programs, and reaches nothing but the Runtime API on a loopback interface of its own. Isolation
// says what of this the machine offers.
//
// Subpackage firehose turns records into the events of a Firehose transformation and back; schedule
// does the same for functions that bring records in.
package function
