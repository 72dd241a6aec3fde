package logger

import (
	"bytes"
	"io"
	"time"
)

// The names of a container's streams in its log.
const (
	Stdout = "stdout"
	Stderr = "stderr"
)

// chunkBytes is the longest text of one record, as Kubernetes' runtimes have it.
const chunkBytes = 16 << 10

// Copy writes what r yields to f as records of stream until r ends, and returns why it ended (nil at its end). A line
// that has not ended by then is written as a whole one. One call for each stream; calls may run at the same time.
func (f *File) Copy(stream string, r io.Reader) error {
	s := splitter{file: f, stream: stream, buf: make([]byte, 0, 2*chunkBytes)}
	for {
		n, err := r.Read(s.free())
		s.take(n, time.Now(), err != nil)
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// splitter makes records of the bytes of one stream. buf holds what belongs to a line that has not ended.
type splitter struct {
	file   *File
	stream string
	buf    []byte
}

// free is the room for the next read; never empty, because take leaves less than a chunk behind.
func (s *splitter) free() []byte { return s.buf[len(s.buf):cap(s.buf)] }

// take turns n more bytes into records and writes them with one call. At the end of the stream nothing is kept back.
func (s *splitter) take(n int, now time.Time, end bool) {
	s.buf = s.buf[:len(s.buf)+n]
	s.file.mu.Lock()
	defer s.file.mu.Unlock()
	rest := s.buf
	for {
		i := bytes.IndexByte(rest, '\n')
		switch {
		case i >= 0 && i <= chunkBytes:
			s.file.append(now, s.stream, false, rest[:i])
			rest = rest[i+1:]
			continue
		case i > chunkBytes || len(rest) > chunkBytes:
			s.file.append(now, s.stream, true, rest[:chunkBytes])
			rest = rest[chunkBytes:]
			continue
		case end && len(rest) > 0:
			s.file.append(now, s.stream, false, rest)
			rest = nil
		}
		break
	}
	s.file.flush()
	s.buf = s.buf[:copy(s.buf[:cap(s.buf)], rest)]
}
