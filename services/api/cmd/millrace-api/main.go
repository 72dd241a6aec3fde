// Command millrace-api is the api of a Millrace cluster.
package main

import (
	"os"

	"millrace.dev/pkg/daemon"
	"millrace.dev/services/api"
)

func main() { os.Exit(daemon.Main("millrace-api", api.DefaultConfig(), api.Run)) }
