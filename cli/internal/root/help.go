package root

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// helpOf is what -h shows, in kubectl's order: what the command does, examples, the commands under it, its own flags, how it is
// called.
func helpOf(cmd *cobra.Command) string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if text := strings.TrimSpace(cmd.Long); text != "" {
		add("%s", text)
	} else {
		add("%s", cmd.Short)
	}
	if len(cmd.Aliases) > 0 {
		add("Aliases:\n%s", cmd.NameAndAliases())
	}
	if cmd.HasExample() {
		add("Examples:\n%s", strings.TrimRight(cmd.Example, "\n"))
	}
	if text := commandsOf(cmd); text != "" {
		add("%s", text)
	}
	if own := flagsOf(cmd.NonInheritedFlags()); cmd.HasParent() && own != "" {
		add("Options:\n%s", strings.TrimRight(own, "\n"))
	}
	add("Usage:\n  %s", usageOf(cmd))
	var hints []string
	if cmd.HasAvailableSubCommands() {
		hints = append(hints, fmt.Sprintf("Use %q for more information about a given command.", cmd.CommandPath()+" <command> --help"))
	}
	hints = append(hints, fmt.Sprintf("Use %q for a list of global command-line options (applies to all commands).", cmd.Root().Name()+" options"))
	add("%s", strings.Join(hints, "\n"))
	return strings.Join(parts, "\n\n") + "\n"
}

// usageOf is how a command is called.
func usageOf(cmd *cobra.Command) string {
	switch {
	case !cmd.HasParent():
		return cmd.Name() + " [flags] [options]"
	case cmd.HasAvailableSubCommands() && !cmd.Runnable():
		return cmd.CommandPath() + " COMMAND [options]"
	}
	return cmd.Parent().CommandPath() + " " + cmd.Use + " [options]"
}

// commandsOf lists the commands under one, by their headings if they have any.
func commandsOf(cmd *cobra.Command) string {
	width := 0
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			width = max(width, len(sub.Name()))
		}
	}
	list := func(title, group string) string {
		var b strings.Builder
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() && sub.GroupID == group {
				fmt.Fprintf(&b, "\n  %-*s   %s", width, sub.Name(), sub.Short)
			}
		}
		if b.Len() == 0 {
			return ""
		}
		return title + b.String()
	}
	var parts []string
	for _, group := range cmd.Groups() {
		if text := list(group.Title, group.ID); text != "" {
			parts = append(parts, text)
		}
	}
	if text := list("Available Commands:", ""); text != "" {
		parts = append(parts, text)
	}
	return strings.Join(parts, "\n\n")
}

// flagsOf lists flags with their defaults, each with what it means below it.
func flagsOf(flags *pflag.FlagSet) string {
	var b strings.Builder
	flags.VisitAll(func(flag *pflag.Flag) {
		if flag.Hidden || flag.Name == "help" {
			return
		}
		value := flag.DefValue
		if flag.Value.Type() == "string" {
			value = "'" + value + "'"
		}
		short := ""
		if flag.Shorthand != "" {
			short = "-" + flag.Shorthand + ", "
		}
		fmt.Fprintf(&b, "    %s--%s=%s:\n\t%s\n\n", short, flag.Name, value, flag.Usage)
	})
	return b.String()
}
