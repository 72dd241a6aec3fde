package images

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"time"
)

// slowSteps is in how many pieces a second a slow blob comes.
const slowSteps = 20

// Fault is what goes wrong with requests for one repository. The zero Fault is none.
type Fault struct {
	Status     int           // status of the answer, such as 401, 404, 429 or 500; 0: the fault is no status
	RetryAfter time.Duration // header of that answer, in whole seconds; 0: no such header
	SlowBytes  int           // bytes of blobs a second, for each request; 0: as fast as it goes
	CutAfter   int64         // bytes of a blob after which the connection is dropped, for each request; 0: never
	Times      int           // how many requests meet it before it is over; 0: all
}

// SetFault sets what goes wrong with a repository, whose name may be short, from now on.
func (r *Registry) SetFault(repository string, f Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f == (Fault{}) {
		delete(r.faults, fullRepository(repository))
		return
	}
	r.faults[fullRepository(repository)] = f
}

// fault returns what goes wrong with the next request for a repository, and counts it.
func (r *Registry) fault(repository string) Fault {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.faults[repository]
	switch f.Times {
	case 0:
	case 1:
		delete(r.faults, repository)
	default:
		left := f
		left.Times--
		r.faults[repository] = left
	}
	return f
}

// fail answers with the fault's status.
func (f Fault) fail(w http.ResponseWriter) {
	if f.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(f.RetryAfter.Seconds())))
	}
	code := map[int]string{
		http.StatusUnauthorized: "UNAUTHORIZED", http.StatusForbidden: "DENIED",
		http.StatusNotFound: "NAME_UNKNOWN", http.StatusTooManyRequests: "TOOMANYREQUESTS",
	}[f.Status]
	fail(w, f.Status, code, "this registry was told to answer so")
}

// body returns what the bytes of a blob go through on their way to w.
func (f Fault) body(ctx context.Context, w http.ResponseWriter) io.Writer {
	var body io.Writer = w
	if f.SlowBytes > 0 {
		body = &slowWriter{done: ctx.Done(), w: w, bytes: f.SlowBytes}
	}
	if f.CutAfter > 0 {
		body = &cutWriter{Writer: body, flush: w, left: f.CutAfter}
	}
	return body
}

// slowWriter lets so many bytes through a second.
type slowWriter struct {
	done  <-chan struct{} // closed when nobody waits for the bytes any more
	w     http.ResponseWriter
	bytes int
}

func (s *slowWriter) Write(p []byte) (int, error) {
	piece := max(1, s.bytes/slowSteps)
	pace := time.NewTicker(time.Duration(piece) * time.Second / time.Duration(s.bytes))
	defer pace.Stop()
	written := 0
	for written < len(p) {
		n, err := s.w.Write(p[written:min(len(p), written+piece)])
		written += n
		if err != nil {
			return written, err
		}
		if err := http.NewResponseController(s.w).Flush(); err != nil {
			return written, err
		}
		select {
		case <-pace.C:
		case <-s.done:
			return written, context.Canceled
		}
	}
	return written, nil
}

// cutWriter drops the connection after so many bytes, all of which get through.
type cutWriter struct {
	io.Writer
	flush http.ResponseWriter
	left  int64
}

func (c *cutWriter) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	if err == nil && c.left == 0 {
		_ = http.NewResponseController(c.flush).Flush()
		panic(http.ErrAbortHandler) // how a handler drops its connection
	}
	return n, err
}

// answerWriter notes what the log says of an answer, and lets its body go through a fault.
type answerWriter struct {
	http.ResponseWriter
	body   io.Writer // nil: straight to the caller
	status int
	user   string // whom a token was given to
}

// WriteHeader notes the status.
func (a *answerWriter) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

// Write writes a piece of the body.
func (a *answerWriter) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	if a.body != nil {
		return a.body.Write(p)
	}
	return a.ResponseWriter.Write(p)
}
