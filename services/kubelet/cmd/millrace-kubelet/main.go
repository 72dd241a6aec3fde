// Command millrace-kubelet runs the pods of one node. With the argument "cleanup" it ends them all and removes what they leave.
package main

import (
	"os"

	"millrace.dev/pkg/daemon"
	"millrace.dev/services/kubelet"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "cleanup" {
		os.Args = append(os.Args[:1], os.Args[2:]...)
		os.Exit(daemon.Once("millrace-kubelet cleanup", kubelet.DefaultConfig(), kubelet.CleanUp))
	}
	os.Exit(daemon.Main("millrace-kubelet", kubelet.DefaultConfig(), kubelet.Run))
}
