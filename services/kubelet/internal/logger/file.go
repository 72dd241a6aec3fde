package logger

import (
	"errors"
	"os"
	"strconv"
	"sync"
	"time"
)

// Kubernetes' own defaults (containerLogMaxSize, containerLogMaxFiles).
const (
	DefaultMaxBytes = 10 << 20
	DefaultMaxFiles = 5
)

// Config says where a log lies and when it is rotated.
type Config struct {
	// Path is the newest file. Older ones are Path.1 (newest) to Path.<MaxFiles-1>. Required.
	Path string
	// MaxBytes is the size beyond which no record is added to a file. 0: [DefaultMaxBytes].
	MaxBytes int64
	// MaxFiles counts all files of this log, at least 1. 0: [DefaultMaxFiles].
	MaxFiles int
}

// File is a rotating log. It is safe for concurrent use by the streams that write to it.
type File struct {
	cfg Config

	mu      sync.Mutex
	file    *os.File
	bytes   int64
	out     []byte   // records of one read, written with one call
	second  int64    // the second that prefix shows
	prefix  [20]byte // "2006-01-02T15:04:05."
	dropped int64
}

// Open opens or creates the newest file of a log for appending.
func Open(cfg Config) (*File, error) {
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = DefaultMaxBytes
	}
	if cfg.MaxFiles <= 0 {
		cfg.MaxFiles = DefaultMaxFiles
	}
	f := &File{cfg: cfg, out: make([]byte, 0, chunkBytes+4096), second: -1}
	return f, f.open()
}

func (f *File) open() error {
	file, err := os.OpenFile(f.cfg.Path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return errors.Join(err, file.Close())
	}
	f.file, f.bytes = file, info.Size()
	return nil
}

// Close closes the newest file.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.file.Close()
}

// Dropped is how many bytes of records were lost because the disk took no more. A container is never held up by its log.
func (f *File) Dropped() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dropped
}

// append adds one record to those of this read. The caller holds mu.
func (f *File) append(now time.Time, stream string, partial bool, text []byte) {
	f.appendTime(now)
	f.out = append(f.out, stream...)
	if partial {
		f.out = append(f.out, " P "...)
	} else {
		f.out = append(f.out, " F "...)
	}
	f.out = append(f.out, text...)
	f.out = append(f.out, '\n')
}

// appendTime writes RFC 3339 with nine digits. The part before the point is formatted once a second.
func (f *File) appendTime(now time.Time) {
	if s := now.Unix(); s != f.second {
		now.UTC().AppendFormat(f.prefix[:0], "2006-01-02T15:04:05.")
		f.second = s
	}
	f.out = append(f.out, f.prefix[:]...)
	ns := now.Nanosecond()
	var digits [9]byte
	for i := len(digits) - 1; i >= 0; i-- {
		digits[i] = byte('0' + ns%10)
		ns /= 10
	}
	f.out = append(f.out, digits[:]...)
	f.out = append(f.out, 'Z', ' ')
}

// flush writes the records of this read, rotating first if they would not fit. The caller holds mu. What the disk does not
// take is dropped whole: half a record would spoil the next one.
func (f *File) flush() {
	if len(f.out) == 0 {
		return
	}
	if f.bytes > 0 && f.bytes+int64(len(f.out)) > f.cfg.MaxBytes {
		f.rotate()
	}
	n, err := f.file.Write(f.out)
	switch {
	case err == nil:
		f.bytes += int64(n)
	case n > 0 && f.file.Truncate(f.bytes) != nil:
		f.bytes += int64(n)
		f.dropped += int64(len(f.out) - n)
	default:
		f.dropped += int64(len(f.out))
	}
	f.out = f.out[:0]
}

// rotate renames every file to the next number and begins a new one. If that fails the old one grows on.
func (f *File) rotate() {
	for i := f.cfg.MaxFiles - 2; i >= 1; i-- {
		if err := os.Rename(f.name(i), f.name(i+1)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return
		}
	}
	var err error
	if f.cfg.MaxFiles > 1 {
		err = os.Rename(f.cfg.Path, f.name(1))
	} else {
		err = os.Remove(f.cfg.Path)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return
	}
	old := f.file
	if f.open() != nil {
		return
	}
	_ = old.Close() // nothing is buffered in it
}

func (f *File) name(i int) string { return RotatedPath(f.cfg.Path, i) }

// RotatedPath is the name of the file that was rotated away i times; 0 is the newest.
func RotatedPath(path string, i int) string {
	if i == 0 {
		return path
	}
	return path + "." + strconv.Itoa(i)
}
