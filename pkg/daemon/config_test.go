package daemon

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// testConfig has a field of every sort.
type testConfig struct {
	Common  `json:",inline"`
	Workers int             `json:"workers"`
	Period  metav1.Duration `json:"period"`
	Dry     bool            `json:"dry"`
	Labels  map[string]string
	Zones   []string `json:"zones"`
	Network struct {
		PodCIDR string `json:"podCIDR"`
	} `json:"network"`
	URLPrefix string `json:"urlPrefix"`
	Hidden    string `json:"-"`
}

func (c *testConfig) Base() *Common { return &c.Common }

func (c *testConfig) Validate() error {
	var err error
	if c.Workers < 0 {
		err = errors.New("workers: less than none")
	}
	return errors.Join(c.Common.Validate(), err)
}

func defaultConfig() *testConfig {
	return &testConfig{Common: DefaultCommon(), Workers: 2, Period: metav1.Duration{Duration: time.Second}}
}

func configFile(t *testing.T, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestLoadPrecedence(t *testing.T) {
	file := configFile(t, "workers: 3\nperiod: 3s\nname: file\nnats: nats://file\n")
	tests := []struct {
		name    string
		args    []string
		environ []string
		want    func(*testConfig)
	}{
		{name: "defaults", want: func(*testConfig) {}},
		{name: "file by flag", args: []string{"--config", file}, want: func(c *testConfig) {
			c.Workers, c.Period.Duration, c.Name, c.NATS = 3, 3*time.Second, "file", "nats://file"
		}},
		{name: "file by environment", environ: []string{"MILLRACE_CONFIG=" + file}, want: func(c *testConfig) {
			c.Workers, c.Period.Duration, c.Name, c.NATS = 3, 3*time.Second, "file", "nats://file"
		}},
		{
			name: "environment over file, flag over environment",
			args: []string{"--config", file, "--workers=5"}, environ: []string{"MILLRACE_WORKERS=4", "MILLRACE_PERIOD=4s"},
			want: func(c *testConfig) {
				c.Workers, c.Period.Duration, c.Name, c.NATS = 5, 4*time.Second, "file", "nats://file"
			},
		},
		{name: "nested and capitals", args: []string{"--network-pod-cidr", "10.0.0.0/8"}, environ: []string{"MILLRACE_URL_PREFIX=/x"}, want: func(c *testConfig) {
			c.Network.PodCIDR, c.URLPrefix = "10.0.0.0/8", "/x"
		}},
		{name: "text that looks like a number", args: []string{"--name", "007"}, want: func(c *testConfig) { c.Name = "007" }},
		{name: "lists and booleans", args: []string{"--zones=[a, b]", "--dry=true"}, want: func(c *testConfig) {
			c.Zones, c.Dry = []string{"a", "b"}, true
		}},
		{name: "an empty flag empties", args: []string{"--config", file, "--name="}, environ: []string{"MILLRACE_NAME=e"}, want: func(c *testConfig) {
			c.Workers, c.Period.Duration, c.Name, c.NATS = 3, 3*time.Second, "", "nats://file"
		}},
		{name: "an empty variable says nothing", environ: []string{"MILLRACE_NAME=", "MILLRACE_CONFIG="}, want: func(*testConfig) {}},
		{name: "variables of others", environ: []string{"MILLRACE_WORKERSX=9", "WORKERS=9", "XMILLRACE_WORKERS=9"}, want: func(*testConfig) {}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, want := defaultConfig(), defaultConfig()
			tt.want(want)
			if show, err := Load("test", got, tt.args, tt.environ); err != nil || show {
				t.Fatalf("Load = %v, %v", show, err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestLoadRefuses(t *testing.T) {
	tests := []struct {
		name    string
		args    []string
		environ []string
		want    []string
	}{
		{name: "an unknown flag", args: []string{"--nope"}, want: []string{"nope"}},
		{name: "a hidden field", args: []string{"--hidden=x"}, want: []string{"hidden"}},
		{name: "an argument", args: []string{"run"}, want: []string{`unexpected argument "run"`}},
		{name: "no file", args: []string{"--config", "/none/at/all"}, want: []string{"/none/at/all"}},
		{name: "no number", args: []string{"--workers=many"}, want: []string{"--workers"}},
		{name: "an empty number", args: []string{"--workers="}, want: []string{"--workers: there is no value"}},
		{name: "no duration", environ: []string{"MILLRACE_PERIOD=soon"}, want: []string{"MILLRACE_PERIOD"}},
		{
			name: "everything at once", args: []string{"--workers=-1", "--log-level=loud", "--log-format=xml", "--nats=", "--period=x"},
			want: []string{"workers: less than none", "logLevel", `"loud"`, "logFormat", `"xml"`, "nats:", "--period"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Load("test", defaultConfig(), tt.args, tt.environ)
			if err == nil {
				t.Fatal("Load has no error")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("Load = %v, want it to say %q", err, want)
				}
			}
		})
	}
	for _, content := range []string{"workres: 3", "workers: 3\nworkers: 4", "workers: [", "network: {podCidr: x, other: y}"} {
		file := configFile(t, content)
		if _, err := Load("test", defaultConfig(), []string{"--config", file}, nil); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("Load of %q = %v, want an error that names the file", content, err)
		}
	}
}

// What is printed is a file that gives the same configuration.
func TestPrintIsReadBack(t *testing.T) {
	config := defaultConfig()
	show, err := Load("test", config, []string{"--print-config", "--workers=7", "--zones=[a]", "--network-pod-cidr=10.0.0.0/8"}, nil)
	if err != nil || !show {
		t.Fatalf("Load = %v, %v; want to show", show, err)
	}
	var printed strings.Builder
	if err := Print(&printed, config); err != nil {
		t.Fatal(err)
	}
	again := defaultConfig()
	if _, err := Load("test", again, []string{"--config", configFile(t, printed.String())}, nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(config, again); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
