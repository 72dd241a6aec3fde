package logger

import (
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// The file descriptors that a shim hands to a logger process.
const (
	stdoutFD = 3
	stderrFD = 4
	readyFD  = 5
)

// afterTerm is how long a logger goes on after its shim has asked it to end: the container is gone then, but a process
// that escaped it may still hold its pipes. It is below the 12 s after which the shim kills the logger.
const afterTerm = 8 * time.Second

// The parameters of a logger process, which it gets as pairs of a name and a value.
const (
	ParamPath     = "path"
	ParamMaxBytes = "max_bytes"
	ParamMaxFiles = "max_files"
)

// Params is cfg as a shim passes it on (see [Parse]).
func (c Config) Params() map[string]string {
	return map[string]string{
		ParamPath:     c.Path,
		ParamMaxBytes: strconv.FormatInt(c.MaxBytes, 10),
		ParamMaxFiles: strconv.Itoa(c.MaxFiles),
	}
}

// Parse reads the parameters that [Config.Params] makes from the arguments of a process: name, value, name, value.
// Unknown names and bad numbers count as absent: a container whose log is kept wrongly is better than none.
func Parse(args []string) Config {
	var c Config
	for i := 0; i+1 < len(args); i += 2 {
		switch value := args[i+1]; args[i] {
		case ParamPath:
			c.Path = value
		case ParamMaxBytes:
			c.MaxBytes, _ = strconv.ParseInt(value, 10, 64)
		case ParamMaxFiles:
			c.MaxFiles, _ = strconv.Atoi(value)
		}
	}
	return c
}

// Run is the logger process as a shim starts it: it copies both streams of the container until they end. It never leaves
// a container without a reader: if the log cannot be opened, what is written is thrown away and the error is returned at
// the end.
func Run(cfg Config) error {
	streams := [2]*os.File{pipe(stdoutFD, Stdout), pipe(stderrFD, Stderr)}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	signal.Ignore(syscall.SIGINT, syscall.SIGHUP, syscall.SIGPIPE)
	go func() {
		<-term
		for _, f := range streams {
			_ = f.SetReadDeadline(time.Now().Add(afterTerm))
		}
	}()

	file, err := Open(cfg)
	ready := os.NewFile(readyFD, "ready")
	_ = ready.Close() // the shim waits for this before it starts the container
	if err != nil {
		drain(streams[:])
		return err
	}
	var wg sync.WaitGroup
	for i, name := range []string{Stdout, Stderr} {
		wg.Go(func() { _ = file.Copy(name, streams[i]) }) // whatever ended it, nobody is left to tell
	}
	wg.Wait()
	return file.Close()
}

// pipe is an inherited descriptor as a file with deadlines.
func pipe(fd int, name string) *os.File {
	_ = syscall.SetNonblock(fd, true)
	return os.NewFile(uintptr(fd), name)
}

func drain(files []*os.File) {
	var wg sync.WaitGroup
	for _, f := range files {
		wg.Go(func() {
			buf := make([]byte, chunkBytes)
			for {
				if _, err := f.Read(buf); err != nil {
					return
				}
			}
		})
	}
	wg.Wait()
}
