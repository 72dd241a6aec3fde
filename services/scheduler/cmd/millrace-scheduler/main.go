// Command millrace-scheduler is the scheduler of a Millrace cluster.
package main

import (
	"os"

	"millrace.dev/pkg/daemon"
	"millrace.dev/services/scheduler"
)

func main() {
	os.Exit(daemon.Main("millrace-scheduler", scheduler.DefaultConfig(), scheduler.Run))
}
