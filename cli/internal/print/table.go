package print

import (
	"io"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"millrace.dev/cli/internal/resource"
	"millrace.dev/pkg/scheme"
)

// TableOptions say what a table shows beside the columns of its kind.
type TableOptions struct {
	Wide          bool // the columns that only -o wide has
	NoHeaders     bool
	WithNamespace bool
	WithKind      bool // before each name
	ShowLabels    bool
	LabelColumns  []string // labels with a column of their own
	WithEvent     bool     // what happened to the object, for a watch
}

// TablePrinter prints objects of one kind as the rows of a table, whose head comes before the first.
type TablePrinter struct {
	writer  *Writer
	kind    *scheme.Kind
	view    view
	options TableOptions
	now     func() time.Time
	begun   bool
}

// NewTable makes the table of a kind.
func NewTable(out io.Writer, kind *scheme.Kind, options TableOptions, now func() time.Time) *TablePrinter {
	return &TablePrinter{writer: NewWriter(out), kind: kind, view: viewOf(kind), options: options, now: now}
}

// Row is an object and, for a watch, what happened to it.
type Row struct {
	Object *resource.Object
	Event  string
}

// Print adds rows.
func (p *TablePrinter) Print(rows ...Row) error {
	if len(rows) == 0 {
		return nil
	}
	var lines [][]string
	if !p.begun && !p.options.NoHeaders {
		lines = append(lines, p.head())
	}
	p.begun = true
	for _, row := range rows {
		line, err := p.line(row)
		if err != nil {
			return err
		}
		lines = append(lines, line)
	}
	return p.writer.Rows(lines...)
}

// head is the names of the columns.
func (p *TablePrinter) head() []string {
	var names []string
	if p.options.WithEvent {
		names = append(names, "EVENT")
	}
	if p.options.WithNamespace {
		names = append(names, "NAMESPACE")
	}
	for _, c := range p.view.columns {
		if p.shows(c) {
			names = append(names, c.name)
		}
	}
	for _, label := range p.options.LabelColumns {
		names = append(names, strings.ToUpper(label[strings.LastIndexByte(label, '/')+1:]))
	}
	if p.options.ShowLabels {
		names = append(names, "LABELS")
	}
	return names
}

func (p *TablePrinter) shows(c column) bool { return p.options.Wide || !c.wide }

// line is the cells of one object.
func (p *TablePrinter) line(row Row) ([]string, error) {
	obj, err := row.Object.Typed()
	if err != nil {
		return nil, err
	}
	var line []string
	if p.options.WithEvent {
		line = append(line, eventType(row.Event))
	}
	if p.options.WithNamespace {
		line = append(line, obj.GetNamespace())
	}
	for i, cell := range p.view.cells(obj, p.now()) {
		switch c := p.view.columns[i]; {
		case !p.shows(c):
			continue
		case c.name == columnName && p.options.WithKind:
			cell = resource.KindName(p.kind) + "/" + cell
		}
		line = append(line, cell)
	}
	return p.addLabels(line, obj), nil
}

func (p *TablePrinter) addLabels(line []string, obj metav1.Object) []string {
	for _, label := range p.options.LabelColumns {
		line = append(line, obj.GetLabels()[label])
	}
	if p.options.ShowLabels {
		line = append(line, labels.FormatLabels(obj.GetLabels()))
	}
	return line
}

// eventType is what happened, as wide as the widest of such words.
func eventType(event string) string {
	const widest = len("MODIFIED")
	return event + strings.Repeat(" ", max(widest-len(event), 0))
}

// column is one column of the table of a kind.
type column struct {
	name string
	wide bool // only -o wide has it
}

const columnName = "NAME"

// narrow and wide make columns that every table has, and those that only a wide one has.
func narrow(names ...string) []column { return columnsOf(false, names) }
func wide(names ...string) []column   { return columnsOf(true, names) }

func columnsOf(wide bool, names []string) []column {
	columns := make([]column, len(names))
	for i, name := range names {
		columns[i] = column{name: name, wide: wide}
	}
	return columns
}

// view is what the table of a kind looks like. cells has one cell for each column.
type view struct {
	columns []column
	cells   func(obj scheme.Object, now time.Time) []string
}

// of makes a view whose cells are made from the kind's own Go type.
func of[T scheme.Object](cells func(T, time.Time) []string, columns ...[]column) view {
	return view{columns: slices.Concat(columns...), cells: func(obj scheme.Object, now time.Time) []string { return cells(obj.(T), now) }}
}

// plain is the view of kinds without an entry.
var plain = of(func(obj scheme.Object, now time.Time) []string {
	return []string{obj.GetName(), Age(obj.GetCreationTimestamp().Time, now)}
}, narrow(columnName, "AGE"))

func viewOf(kind *scheme.Kind) view {
	if v, ok := kinds[kind.Resource()]; ok {
		return v
	}
	return plain
}
