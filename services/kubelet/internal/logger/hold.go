package logger

import (
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
)

// HoldMode is the first argument of a process that holds the process namespace which the containers of a pod share: the
// only namespace that needs a process. It writes the number of its child, the first process in a new namespace, and ends;
// the child stays until it is killed, and takes what is left in the namespace along.
const HoldMode = "hold"

const holdChild = "child"

// Hold is the process that [HoldMode] starts. out gets the number of the child.
func Hold(args []string, out io.Writer) error {
	if len(args) > 0 && args[0] == holdChild {
		return reap()
	}
	child := &exec.Cmd{ // it outlives its parent
		Path: "/proc/self/exe", Args: []string{os.Args[0], HoldMode, holdChild},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true, Cloneflags: syscall.CLONE_NEWPID},
	}
	if err := child.Start(); err != nil {
		return err
	}
	_, err := io.WriteString(out, strconv.Itoa(child.Process.Pid))
	return err
}

// reap is what the first process of a namespace is for: to take leave of those that nobody else waits for.
func reap() error {
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	signal.Ignore(syscall.SIGINT, syscall.SIGHUP, syscall.SIGTERM)
	for range children {
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
	return nil
}
