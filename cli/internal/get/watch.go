package get

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"millrace.dev/cli/internal/follow"
	"millrace.dev/cli/internal/print"
	"millrace.dev/cli/internal/resource"
)

// follow shows what there is, and then every change, until it is told to stop.
func (c *command) follow(ctx context.Context, s *resource.Selection) error {
	if len(s.Named) > 1 {
		return fmt.Errorf("watch is only supported on individual resources and resource collections, %d resources were found", len(s.Named))
	}
	if limit, err := c.RequestTimeout(); err != nil {
		return err
	} else if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	api, err := c.Client(ctx)
	if err != nil {
		return err
	}
	f := &follow.Follower{Client: api, Lost: func(err error) { c.Logger().Warn("the watch broke off and is taken up again", "err", err) }}
	if len(s.Named) == 0 {
		f.Set, f.Options = s.Sets[0], s.Options()
	} else {
		f.Set, f.Options = resource.Set{Kind: s.Named[0].Kind, Namespace: s.Named[0].Namespace}, follow.ByName(s.Named[0].Name)
	}
	objects, version, err := f.List(ctx)
	if err == nil && len(objects) == 0 && len(s.Named) > 0 {
		_, err = api.Get(ctx, s.Named[0].Ref(), metav1.GetOptions{})
	}
	if err != nil {
		return c.found(err)
	}
	show := c.shower(f.Set)
	if !c.watchOnly {
		if err := c.sort(objects); err != nil {
			return err
		}
		if err := show(watch.Added, objects...); err != nil {
			return fmt.Errorf("unable to output the provided object: %w", err)
		}
	}
	err = f.Run(ctx, objects, version, func(e follow.Event) error { return show(e.Type, e.Object) })
	if ctx.Err() != nil {
		return nil // as long as it was to be watched
	}
	return err
}

// shower shows objects as they come.
func (c *command) shower(set resource.Set) func(watch.EventType, ...*resource.Object) error {
	switch c.output.Format {
	case print.Table, print.Wide:
		c.table.WithEvent = c.watchEvents
		table := c.newTable(set.Kind, c.showKind)
		return func(typ watch.EventType, objects ...*resource.Object) error {
			rows := make([]print.Row, len(objects))
			for i, o := range objects {
				rows[i] = print.Row{Object: o, Event: string(typ)}
			}
			return table.Print(rows...)
		}
	case print.Name:
		return func(_ watch.EventType, objects ...*resource.Object) error {
			for _, o := range objects {
				if _, err := fmt.Fprintln(c.Out, o); err != nil {
					return err
				}
			}
			return nil
		}
	}
	return c.showWhole
}

// showWhole shows objects that have come together.
func (c *command) showWhole(typ watch.EventType, objects ...*resource.Object) error {
	contents := make([]map[string]any, len(objects))
	for i, o := range objects {
		content, err := c.content(o)
		if err != nil {
			return err
		}
		if c.watchEvents {
			content = map[string]any{"type": string(typ), "object": content}
		}
		contents[i] = content
	}
	if c.output.InColumns() && len(contents) > 1 {
		return c.encoder.Encode(print.ListOf(contents)) // rows of one table
	}
	for _, content := range contents {
		if err := c.encoder.Encode(content); err != nil {
			return err
		}
	}
	return nil
}
