package print

import (
	"bytes"
	"io"
	"strings"
	"unicode/utf8"
)

const (
	minWidth = 6 // of a column, with its padding (kubectl)
	padding  = 3
)

// Writer aligns rows of cells in columns. A column never becomes narrower than it was, so that rows that arrive later stay
// below those before them.
type Writer struct {
	out    io.Writer
	widths []int
}

// NewWriter makes a writer of rows.
func NewWriter(out io.Writer) *Writer { return &Writer{out: out} }

// Rows writes rows at once, aligned with each other and with those of before. All must have the same number of cells.
func (w *Writer) Rows(rows ...[]string) error {
	for _, row := range rows {
		for i, cell := range row {
			row[i] = oneLine(cell)
		}
	}
	return w.write(rows)
}

// write writes rows of cells as they are. The last cell of a row needs no width.
func (w *Writer) write(rows [][]string) error {
	for _, row := range rows {
		for i, cell := range row[:max(len(row)-1, 0)] {
			if i == len(w.widths) {
				w.widths = append(w.widths, minWidth)
			}
			w.widths[i] = max(w.widths[i], utf8.RuneCountInString(cell)+padding)
		}
	}
	var b bytes.Buffer
	for _, row := range rows {
		for i, cell := range row {
			b.WriteString(cell)
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", w.widths[i]-utf8.RuneCountInString(cell)))
			}
		}
		b.WriteByte('\n')
	}
	_, err := w.out.Write(b.Bytes())
	return err
}

// oneLine cuts a cell at its first line and takes the power out of what would command a terminal.
func oneLine(cell string) string {
	if i := strings.IndexAny(cell, "\n\r\f"); i >= 0 {
		cell = cell[:i] + "..."
	}
	return Harmless(cell)
}

var harmless = strings.NewReplacer("\x1b", "^[", "\r", "\\r")

// Harmless is text that comes from others, without the power to command a terminal.
func Harmless(text string) string { return harmless.Replace(text) }
