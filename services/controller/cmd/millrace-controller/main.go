// Command millrace-controller runs the reconcilers of a Millrace cluster.
package main

import (
	"os"

	"millrace.dev/pkg/daemon"
	"millrace.dev/services/controller"
)

func main() {
	os.Exit(daemon.Main("millrace-controller", controller.DefaultConfig(), controller.Run))
}
