package get

import (
	"fmt"

	"millrace.dev/cli/internal/print"
	"millrace.dev/cli/internal/resource"
	"millrace.dev/pkg/scheme"
)

// printWhole shows objects as names, or whole: one by itself or all as a list. incomplete is why some are missing: of one that was asked for by its name,
// nothing is left to show.
func (c *command) printWhole(s *resource.Selection, objects []*resource.Object, incomplete error) error {
	if len(objects) == 0 && (s.Single || c.ignoreNotFound) {
		return incomplete
	}
	single := s.Single && len(objects) == 1
	if !single {
		if err := c.sort(objects); err != nil {
			return err
		}
	}
	if c.output.Format == print.Name {
		for _, o := range objects {
			if _, err := fmt.Fprintln(c.Out, o); err != nil {
				return err
			}
		}
		return incomplete
	}
	contents := make([]map[string]any, len(objects))
	for i, o := range objects {
		var err error
		if contents[i], err = c.content(o); err != nil {
			return err
		}
	}
	shown := print.ListOf(contents)
	if single {
		shown = contents[0]
	}
	if err := c.encoder.Encode(shown); err != nil {
		return err
	}
	return incomplete
}

// content is an object as it is shown whole. Templates see all of it.
func (c *command) content(o *resource.Object) (map[string]any, error) {
	content, err := o.Content()
	if err != nil {
		return nil, err
	}
	if !c.managed && !c.output.Templated() {
		print.OmitManagedFields(content)
	}
	return content, nil
}

// printTables shows objects as tables, one for each run of objects of one kind, with an empty line between them.
func (c *command) printTables(s *resource.Selection, objects []*resource.Object) error {
	withKind := c.showKind || severalKinds(s)
	var groups [][]*resource.Object
	for begin := 0; begin < len(objects); {
		end := begin
		for end < len(objects) && objects[end].Kind == objects[begin].Kind {
			end++
		}
		group := objects[begin:end]
		if err := c.sort(group); err != nil {
			return err
		}
		groups = append(groups, group)
		begin = end
	}
	for i, group := range groups {
		if i > 0 && !c.table.NoHeaders {
			if _, err := fmt.Fprintln(c.Out); err != nil {
				return err
			}
		}
		rows := make([]print.Row, len(group))
		for j, o := range group {
			rows[j] = print.Row{Object: o}
		}
		if err := c.newTable(group[0].Kind, withKind).Print(rows...); err != nil {
			return err
		}
	}
	return nil
}

func (c *command) newTable(kind *scheme.Kind, withKind bool) *print.TablePrinter {
	options := c.table
	options.WithKind = withKind
	options.WithNamespace = c.query.AllNamespaces && !kind.ClusterScoped
	return print.NewTable(c.Out, kind, options, c.Now)
}

// severalKinds says that more than one kind was asked for.
func severalKinds(s *resource.Selection) bool {
	kinds := map[*scheme.Kind]bool{}
	for _, set := range s.Sets {
		kinds[set.Kind] = true
	}
	for _, o := range s.Named {
		kinds[o.Kind] = true
	}
	return len(kinds) > 1
}
