// Command millrace-proxy keeps a node's network as the cluster's routes say.
package main

import (
	"os"

	"millrace.dev/pkg/daemon"
	"millrace.dev/services/proxy"
)

func main() { os.Exit(daemon.Main("millrace-proxy", proxy.DefaultConfig(), proxy.Run)) }
