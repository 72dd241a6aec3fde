package logs

import (
	"bufio"
	"errors"
	"hash/fnv"
	"io"
	"strconv"
	"sync"

	"millrace.dev/cli/internal/factory"
	"millrace.dev/cli/internal/terminal"
)

// lineLimit is how much of a line is held back until its end is there; a longer one may be mingled with others.
const lineLimit = 256 << 10

// colours are those that pods take turns in: the bright ones that can be read on dark and light.
var colours = []int{36, 33, 32, 35, 34, 96, 93, 92, 95, 94}

// output is where logs are shown. Safe for concurrent use.
type output struct {
	coloured bool
	// mingled says that several logs are shown at once: then only whole lines are written.
	mingled bool

	mu  sync.Mutex
	out io.Writer
}

func newOutput(f *factory.Factory) *output {
	return &output{out: f.Out, coloured: terminal.Colour(f.Out, f.Environment)}
}

// copy shows what r reads, each line behind prefix, which on a terminal has the colour of its pod.
func (o *output) copy(r io.Reader, pod, prefix string) error {
	if !o.mingled && prefix == "" {
		_, err := io.Copy(o.out, r)
		return err
	}
	if o.coloured && prefix != "" {
		prefix = "\x1b[" + strconv.Itoa(colourOf(pod)) + "m" + prefix + "\x1b[0m"
	}
	lines := bufio.NewReaderSize(r, lineLimit)
	begins := true
	for {
		line, err := lines.ReadSlice('\n')
		if len(line) > 0 {
			head := ""
			if begins {
				head = prefix
			}
			if err := o.write(head, line); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return err
		}
		begins = err == nil
	}
}

func (o *output) write(head string, line []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, err := o.out.Write(append([]byte(head), line...))
	return err
}

// say shows a line of the command's own.
func (o *output) say(line string) error { return o.write("", []byte(line+"\n")) }

// colourOf is always the same for a pod.
func colourOf(pod string) int {
	h := fnv.New32a()
	h.Write([]byte(pod))
	return colours[h.Sum32()%uint32(len(colours))]
}
