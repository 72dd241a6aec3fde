package natsd

import (
	"fmt"
	"log/slog"
	"strings"
)

// logger hands the server's own log lines to slog.
type logger struct {
	to *slog.Logger
	// staged is the stream whose directory is made before the stream, to mount its staging there: at the very first start the
	// server finds no metafile in it and warns of nothing.
	staged string
	fatal  chan<- string // gets the first thing that keeps the server from starting; nil: nobody waits for it
}

func (l logger) Noticef(format string, v ...any) {
	l.to.Debug("notice", "text", fmt.Sprintf(format, v...))
}

func (l logger) Warnf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	if l.staged != "" && strings.Contains(text, "Missing stream metafile") && strings.Contains(text, l.staged) {
		return
	}
	l.to.Warn("warning", "text", text)
}

func (l logger) Errorf(format string, v ...any) {
	l.to.Error("error", "text", fmt.Sprintf(format, v...))
}

func (l logger) Fatalf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	l.to.Error("fatal", "text", text)
	select {
	case l.fatal <- text:
	default:
	}
}

func (l logger) Debugf(format string, v ...any) {
	l.to.Debug("debug", "text", fmt.Sprintf(format, v...))
}

func (l logger) Tracef(format string, v ...any) {
	l.to.Debug("trace", "text", fmt.Sprintf(format, v...))
}
