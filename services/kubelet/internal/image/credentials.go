package image

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"path"
	"slices"
	"strings"
)

// Auth is one pair of credentials. It does not show itself in logs.
type Auth struct {
	Username, Password string
	// IdentityToken takes the place of a password at registries that issue one.
	IdentityToken string
}

// LogValue keeps credentials out of logs.
func (a Auth) LogValue() slog.Value { return slog.StringValue("[" + a.Username + "]") }

// String keeps them out of texts.
func (a Auth) String() string { return "[" + a.Username + "]" }

// Credentials are those of the pull secrets of one pod. The zero value has none.
type Credentials struct {
	entries []entry
}

// entry is what a secret has for one registry, or for a part of one.
type entry struct {
	host string // may have "*" within a label; docker.io for all names of Docker's registry
	path string // prefix of the repository, or empty
	auth Auth
}

// ParseDockerConfigJSON reads the content of a secret of type kubernetes.io/dockerconfigjson. The error does not show it.
func ParseDockerConfigJSON(data []byte) (Credentials, error) {
	var file struct {
		Auths map[string]secretEntry `json:"auths"`
	}
	if json.Unmarshal(data, &file) != nil {
		return Credentials{}, errors.New("pull secret: not a docker configuration")
	}
	return fromSecret(file.Auths)
}

// ParseDockerCfg reads the content of a secret of type kubernetes.io/dockercfg, the older form.
func ParseDockerCfg(data []byte) (Credentials, error) {
	var file map[string]secretEntry
	if json.Unmarshal(data, &file) != nil {
		return Credentials{}, errors.New("pull secret: not a docker configuration")
	}
	return fromSecret(file)
}

type secretEntry struct {
	Username      string `json:"username"`
	Password      string `json:"password"`
	Auth          string `json:"auth"` // base64 of "username:password"
	IdentityToken string `json:"identitytoken"`
}

func fromSecret(entries map[string]secretEntry) (Credentials, error) {
	var c Credentials
	for key, e := range entries {
		auth := Auth{Username: e.Username, Password: e.Password, IdentityToken: e.IdentityToken}
		if e.Auth != "" {
			plain, err := base64.StdEncoding.DecodeString(strings.TrimRight(e.Auth, "\x00 \n"))
			user, password, ok := strings.Cut(string(plain), ":")
			if err != nil || !ok {
				return Credentials{}, fmt.Errorf("pull secret: auth of %q is not base64 of username:password", key)
			}
			auth.Username, auth.Password = user, strings.Trim(password, "\x00")
		}
		host, prefix := parseKey(key)
		c.entries = append(c.entries, entry{host: host, path: prefix, auth: auth})
	}
	c.sort()
	return c, nil
}

// parseKey reads "registry.example:5000/team", also with a scheme and Docker's "/v1/" at the end.
func parseKey(key string) (host, prefix string) {
	if !strings.Contains(key, "://") {
		key = "https://" + key
	}
	u, err := url.Parse(key)
	if err != nil {
		_, rest, _ := strings.Cut(key, "://")
		host, prefix, _ = strings.Cut(rest, "/")
	} else {
		host, prefix = u.Host, strings.TrimPrefix(u.Path, "/")
	}
	for _, version := range []string{"v1", "v2"} {
		if prefix == version || strings.HasPrefix(prefix, version+"/") {
			prefix = strings.TrimPrefix(strings.TrimPrefix(prefix, version), "/")
		}
	}
	if slices.Contains([]string{"index.docker.io", "registry-1.docker.io"}, host) {
		host = dockerHub
	}
	return host, prefix
}

const dockerHub = "docker.io"

// Merge puts the credentials of several secrets together.
func Merge(all ...Credentials) Credentials {
	var c Credentials
	for _, one := range all {
		c.entries = append(c.entries, one.entries...)
	}
	c.sort()
	return c
}

// sort puts the most specific first; of equal ones, those that came first.
func (c *Credentials) sort() {
	slices.SortStableFunc(c.entries, func(a, b entry) int {
		if n := len(b.path) - len(a.path); n != 0 {
			return n
		}
		return len(b.host) - len(a.host)
	})
}

// For gives the credentials that fit a full image name, the most specific first.
func (c Credentials) For(name string) []Auth {
	host, repository, _ := strings.Cut(name, "/")
	var fitting []Auth
	for _, e := range c.entries {
		if hostMatches(e.host, host) && strings.HasPrefix(repository, e.path) && !slices.Contains(fitting, e.auth) {
			fitting = append(fitting, e.auth)
		}
	}
	return fitting
}

// hostMatches compares label by label; "*" stands for part of a label, never for several.
func hostMatches(pattern, host string) bool {
	patternName, patternPort, _ := strings.Cut(pattern, ":")
	name, port, _ := strings.Cut(host, ":")
	wanted, labels := strings.Split(patternName, "."), strings.Split(name, ".")
	if patternPort != port || len(wanted) != len(labels) {
		return false
	}
	for i := range wanted {
		if ok, err := path.Match(wanted[i], labels[i]); err != nil || !ok {
			return false
		}
	}
	return true
}
