package auth

import (
	"log/slog"
	"maps"
	"slices"
)

// LogValue keeps the seed out of logs: it says whose credential this is.
func (c Credential) LogValue() slog.Value { return slog.StringValue(c.String()) }

// String says whose credential this is.
func (c Credential) String() string {
	bearer, err := c.Bearer()
	if err != nil {
		return "credential that cannot be read"
	}
	return "credential of " + bearer
}

// GoString is String: no way of printing a credential shows its seed.
func (c Credential) GoString() string { return c.String() }

// LogValue keeps the seeds out of logs: it says which accounts there are.
func (a *Authority) LogValue() slog.Value {
	return slog.AnyValue(slices.Sorted(maps.Keys(a.Accounts)))
}

// String says nothing: no way of printing an authority shows its seeds.
func (a *Authority) String() string { return "authority" }

// GoString is String.
func (a *Authority) GoString() string { return a.String() }
