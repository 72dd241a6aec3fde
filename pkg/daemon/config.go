package daemon

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"sigs.k8s.io/yaml"
)

// errHelp: the user asked for help and got it.
var errHelp = errors.New("help was asked for")

// Load fills config from, each winning over the one before: what it already holds, the YAML file named by --config or
// MILLRACE_CONFIG, MILLRACE_<FIELD> of environ, and the flags in args. show says that the user only wants to see the result.
// A variable that is empty says nothing; a flag that is empty empties the field.
// Nested fields are joined: podCIDR of network is --network-pod-cidr and MILLRACE_NETWORK_POD_CIDR.
func Load(service string, config Config, args, environ []string) (show bool, err error) {
	fields := fieldsOf(reflect.ValueOf(config).Elem(), "")
	flags := flag.NewFlagSet(service, flag.ContinueOnError)
	file := flags.String("config", environment(environ, "MILLRACE_CONFIG"), "YAML file with the configuration")
	flags.BoolVar(&show, "print-config", false, "print the effective configuration and exit")
	given := map[string]string{}
	for _, f := range fields {
		value, err := yaml.Marshal(f.value.Interface())
		if err != nil {
			return false, err
		}
		usage := fmt.Sprintf("default %s", strings.TrimSpace(string(value)))
		flags.Func(f.flag(), usage, func(text string) error {
			given[f.flag()] = text
			return nil
		})
	}
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return false, errHelp
		}
		return false, err
	}
	if flags.NArg() > 0 {
		return false, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if err := readFile(*file, config); err != nil {
		return false, err
	}
	var errs []error
	for _, f := range fields {
		if text := environment(environ, f.variable()); text != "" {
			errs = append(errs, f.set(f.variable(), text))
		}
		if text, ok := given[f.flag()]; ok {
			errs = append(errs, f.set("--"+f.flag(), text))
		}
	}
	return show, errors.Join(append(errs, config.Validate())...)
}

func readFile(file string, config Config) error {
	if file == "" {
		return nil
	}
	body, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	if err := yaml.UnmarshalStrict(body, config); err != nil {
		return fmt.Errorf("read configuration %s: %w", file, err)
	}
	return nil
}

func environment(environ []string, name string) string {
	i := slices.IndexFunc(environ, func(e string) bool { return strings.HasPrefix(e, name+"=") })
	if i < 0 {
		return ""
	}
	return environ[i][len(name)+1:]
}

// Print writes config as YAML.
func Print(to io.Writer, config Config) error {
	body, err := yaml.Marshal(config)
	if err != nil {
		return err
	}
	_, err = to.Write(body)
	return err
}

// field is one settable value of a configuration.
type field struct {
	path  string // json names joined by dashes
	value reflect.Value
}

func fieldsOf(v reflect.Value, prefix string) []field {
	var fields []field
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		switch {
		case v.Type().Field(i).Anonymous:
			fields = append(fields, fieldsOf(v.Field(i), prefix)...)
		case name == "" || name == "-":
		case v.Field(i).Kind() == reflect.Struct && !reads(v.Field(i)):
			fields = append(fields, fieldsOf(v.Field(i), prefix+name+"-")...)
		default:
			fields = append(fields, field{prefix + name, v.Field(i)})
		}
	}
	return fields
}

// reads says that a value reads its own JSON, as durations do.
func reads(v reflect.Value) bool {
	_, ok := reflect.TypeAssert[json.Unmarshaler](v.Addr())
	return ok
}

// flag is the path in lower case with dashes: podCIDR becomes pod-cidr.
func (f field) flag() string {
	var b strings.Builder
	runes := []rune(f.path)
	for i, r := range runes {
		begins := unicode.IsUpper(r) && i > 0 && runes[i-1] != '-' &&
			(unicode.IsLower(runes[i-1]) || (i+1 < len(runes) && unicode.IsLower(runes[i+1])))
		if begins {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

func (f field) variable() string {
	return "MILLRACE_" + strings.ToUpper(strings.ReplaceAll(f.flag(), "-", "_"))
}

// set reads the value from text, as YAML unless the field is a string; its error names from, where the text stood.
func (f field) set(from, text string) error {
	if f.value.Kind() == reflect.String {
		f.value.SetString(text)
		return nil
	}
	if text == "" {
		return fmt.Errorf("%s: there is no value", from)
	}
	if err := yaml.Unmarshal([]byte(text), f.value.Addr().Interface()); err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	return nil
}
