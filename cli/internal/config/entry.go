package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"millrace.dev/cli/internal/contextfile"
	"millrace.dev/cli/internal/factory"
	"millrace.dev/pkg/auth"
)

func setCluster(f *factory.Factory) *cobra.Command {
	var server, authority string
	var embed bool
	cmd := &cobra.Command{
		Use:                   "set-cluster NAME [--server=server] [--certificate-authority=path/to/certificate/authority] [--embed-certs=true]",
		DisableFlagsInUseLine: true,
		Short:                 "Set a cluster entry in a config file",
		Long:                  "Set a cluster entry in a config file.\n\n Specifying a name that already exists will merge new fields on top of existing values for those fields.",
		Example: "  # Set only the server field on the far cluster entry without touching other values\n  millrace config set-cluster far --server=nats://1.2.3.4:4222\n\n" +
			"  # Embed certificate authority data for the far cluster entry\n  millrace config set-cluster far --embed-certs --certificate-authority=ca.crt",
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := only(cmd, args)
			if err != nil {
				return err
			}
			if embed && authority == "" {
				return errors.New("you must specify a --certificate-authority to embed")
			}
			return edit(f, func(c *contextfile.Config) (string, error) {
				entry, _ := c.Cluster(name)
				if cmd.Flags().Changed("server") {
					entry.Server = server
				}
				if cmd.Flags().Changed("certificate-authority") {
					path, data, err := fileOrText("certificate-authority", authority, embed)
					if err != nil {
						return "", err
					}
					entry.CertificateAuthority, entry.CertificateAuthorityData = path, data
				}
				c.SetCluster(name, entry)
				return fmt.Sprintf("Cluster %q set.", name), nil
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&server, "server", "", "server for the cluster entry in the config file")
	flags.StringVar(&authority, "certificate-authority", "", "Path to certificate-authority file for the cluster entry in the config file")
	flags.BoolVar(&embed, "embed-certs", false, "embed-certs for the cluster entry in the config file")
	return cmd
}

func setCredentials(f *factory.Factory) *cobra.Command {
	var credential string
	var embed bool
	cmd := &cobra.Command{
		Use:                   "set-credentials NAME [--credential=path/to/credential] [--embed-credential=true]",
		DisableFlagsInUseLine: true,
		Short:                 "Set a user entry in a config file",
		Long:                  "Set a user entry in a config file.\n\n Specifying a name that already exists will merge new fields on top of existing values.",
		Example: "  # Set the credential of the admin user\n  millrace config set-credentials admin --credential=~/.millrace/admin.creds\n\n" +
			"  # Embed the credential of the guest user\n  millrace config set-credentials guest --embed-credential --credential=guest.creds",
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := only(cmd, args)
			if err != nil {
				return err
			}
			if embed && credential == "" {
				return errors.New("you must specify a --credential to embed")
			}
			return edit(f, func(c *contextfile.Config) (string, error) {
				entry, _ := c.User(name)
				if cmd.Flags().Changed("credential") {
					path, data, err := fileOrText("credential", credential, embed)
					if err != nil {
						return "", err
					}
					if embed {
						if _, err := auth.ParseCredential(data); err != nil {
							return "", fmt.Errorf("%s: %w", credential, err)
						}
					}
					entry.Credential, entry.CredentialData = path, string(data)
				}
				c.SetUser(name, entry)
				return fmt.Sprintf("User %q set.", name), nil
			})
		},
	}
	cmd.Flags().StringVar(&credential, "credential", "", "Path to the file with the credential for the user entry in the config file")
	cmd.Flags().BoolVar(&embed, "embed-credential", false, "Embed the credential itself in the user entry in the config file")
	return cmd
}

// fileOrText is a file's absolute path, or what it holds if that is to be embedded.
func fileOrText(what, path string, embed bool) (absolute string, text []byte, err error) {
	if !embed {
		if path != "" {
			path, err = filepath.Abs(path)
		}
		return path, nil, err
	}
	if text, err = os.ReadFile(path); err != nil {
		return "", nil, fmt.Errorf("could not read %s file %s: %w", what, path, err)
	}
	return "", text, nil
}

func unset(f *factory.Factory) *cobra.Command {
	return &cobra.Command{
		Use:                   "unset PROPERTY_NAME",
		DisableFlagsInUseLine: true,
		Short:                 "Unset an individual value in a config file",
		Long: "Unset an individual value in a config file.\n\n PROPERTY_NAME is a dot delimited name where each token represents either an attribute name or a map key. " +
			"Map keys may contain dots.",
		Example: "  # Unset the current-context\n  millrace config unset current-context\n\n  # Unset namespace in foo context\n  millrace config unset contexts.foo.namespace",
		RunE: func(cmd *cobra.Command, args []string) error {
			property, err := only(cmd, args)
			if err != nil {
				return err
			}
			return edit(f, func(c *contextfile.Config) (string, error) {
				if err := clear(c, property); err != nil {
					return "", err
				}
				return fmt.Sprintf("Property %q unset.", property), nil
			})
		},
	}
}

// clear removes what a property names; what is not there is no fault.
func clear(c *contextfile.Config, property string) error {
	if property == "current-context" {
		c.SetCurrentContext("")
		return nil
	}
	list, rest, _ := strings.Cut(property, ".")
	var clearEntry func(name string) bool
	var clearField func(name, field string) bool
	switch list {
	case "contexts":
		clearEntry = func(name string) bool { return c.DeleteContext(name) != "" }
		clearField = func(name, field string) bool { return clearContextField(c, name, field) }
	case "clusters":
		clearEntry = func(name string) bool { return c.DeleteCluster(name) != "" }
		clearField = func(name, field string) bool { return clearClusterField(c, name, field) }
	case "users":
		clearEntry = func(name string) bool { return c.DeleteUser(name) != "" }
		clearField = func(name, field string) bool { return clearUserField(c, name, field) }
	}
	if clearEntry == nil || rest == "" {
		return fmt.Errorf("there is no property %q: it must be current-context, or the name of an entry behind contexts., clusters. or users., which a field may follow", property)
	}
	if clearEntry(rest) {
		return nil
	}
	if at := strings.LastIndexByte(rest, '.'); at >= 0 && !clearField(rest[:at], rest[at+1:]) {
		return fmt.Errorf("there is no property %q: entries of %s have no field %q", property, list, rest[at+1:])
	}
	return nil
}

// clearContextField, clearClusterField and clearUserField empty one field of an entry; false: entries have no such field.
func clearContextField(c *contextfile.Config, name, field string) bool {
	entry, ok := c.Context(name)
	switch field {
	case "cluster":
		entry.Cluster = ""
	case "namespace":
		entry.Namespace = ""
	case "user":
		entry.User = ""
	default:
		return false
	}
	if ok {
		c.SetContext(name, entry)
	}
	return true
}

func clearClusterField(c *contextfile.Config, name, field string) bool {
	entry, ok := c.Cluster(name)
	switch field {
	case "server":
		entry.Server = ""
	case "certificate-authority":
		entry.CertificateAuthority = ""
	case "certificate-authority-data":
		entry.CertificateAuthorityData = nil
	default:
		return false
	}
	if ok {
		c.SetCluster(name, entry)
	}
	return true
}

func clearUserField(c *contextfile.Config, name, field string) bool {
	entry, ok := c.User(name)
	switch field {
	case "credential":
		entry.Credential = ""
	case "credential-data":
		entry.CredentialData = ""
	default:
		return false
	}
	if ok {
		c.SetUser(name, entry)
	}
	return true
}
