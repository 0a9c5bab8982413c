package function

import (
	"encoding/json"
	"os"
)

// childName is argv[0] of this program when it is to become a worker.
const childName = "tarn-function-worker"

// Child turns this process into the worker of a function if a Pool started it as one, and then does not
// return; otherwise it does nothing. Call it first thing in main, and in TestMain of a package whose
// tests start pools.
func Child() {
	if len(os.Args) == 1 && os.Args[0] == childName {
		becomeWorker()
	}
}

// plan tells a child what to become. It travels over descriptor 3 as JSON.
type plan struct {
	Namespaces bool // it is in new namespaces and builds its own view of the file system
	Confine    bool // Landlock, seccomp, resource limits, no capabilities
	Network    bool // it keeps the network of this machine
	Probe      bool // end instead of becoming the function

	Root     string   // an empty folder to mount on
	Code     string   // the code folder as this machine knows it
	Runtime  string   // the folder of the bootstraps
	Tmp      string   // without namespaces: a folder it may write
	Programs []string // the interpreter and its libraries, beyond the folders of the system

	UID, GID int // who to become; 0 for no change
	TmpBytes int64
	Limits   limits

	Spec launchSpec
}

// launchSpec is what the child needs of a Spec to write argv and environment.
type launchSpec struct {
	Argv []string // with {code} and {runtime} for the places that the child knows
	Env  []string // complete, but for the address of the Runtime API
}

// limits are resource limits of one worker; zero means none.
type limits struct {
	Processes   uint64 // with threads
	DataBytes   uint64 // private writable memory of one process
	FileBytes   uint64
	Descriptors uint64
}

// report is what a child answers before it becomes the function.
type report struct {
	Error    string   // what failed; then nothing else counts
	Isolated []string // beyond the namespaces
	Missing  []string
}

func (r report) encode() []byte {
	b, _ := json.Marshal(r) // strings only: cannot fail
	return b
}
