package function_test

import (
	"os"
	"testing"

	"github.com/tarn-data/tarn/function"
)

func TestMain(m *testing.M) {
	function.Child()
	runBootstrap()
	forbidNamespaces()
	runHost()
	os.Exit(m.Run())
}
