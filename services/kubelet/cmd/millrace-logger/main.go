// Command millrace-logger is the small process beside each container that keeps its log. A container's shim starts it;
// people do not. With the word "hub" before its parameters it also serves the input of a container and whoever is attached
// to it; as "hold" it holds the process namespace of a pod. Package logger says what it does.
package main

import (
	"os"
	"runtime"
	"runtime/debug"

	"millrace.dev/services/kubelet/internal/logger"
)

func main() {
	// The process copies bytes: one thread of Go is enough, and what little it allocates should be given back.
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(20)
	if err := run(os.Args[1:]); err != nil {
		_, _ = os.Stderr.WriteString("millrace-logger: " + err.Error() + "\n")
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) > 0 && args[0] == logger.HubMode:
		return logger.RunHub(args[1:])
	case len(args) > 0 && args[0] == logger.HoldMode:
		return logger.Hold(args[1:], os.Stdout)
	}
	return logger.Run(logger.Parse(args))
}
