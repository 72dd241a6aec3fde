// Package version tells which build is running.
package version

import (
	"runtime"
	"runtime/debug"
)

// Kubernetes is the version whose behaviour Millrace follows.
const Kubernetes = "v1.37"

// release is a version of semver.org after a v. The linker sets it: -X millrace.dev/pkg/version.release=v1.2.3.
var release = "v0.0.0-dev"

// Info says what was built.
type Info struct {
	// Version is a version of semver.org after a v.
	Version   string `json:"version"`
	Commit    string `json:"commit,omitempty"`
	BuildDate string `json:"buildDate,omitempty"`
	GoVersion string `json:"goVersion"`
	Platform  string `json:"platform"`
	// Kubernetes is the version whose behaviour this build follows.
	Kubernetes string `json:"kubernetes"`
}

// Get reads what the toolchain put into the binary.
func Get() Info {
	info := Info{
		Version: release, GoVersion: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, Kubernetes: Kubernetes,
	}
	build, ok := debug.ReadBuildInfo()
	if ok {
		for _, s := range build.Settings {
			switch s.Key {
			case "vcs.revision":
				info.Commit = s.Value
			case "vcs.time":
				info.BuildDate = s.Value
			}
		}
	}
	return info
}
