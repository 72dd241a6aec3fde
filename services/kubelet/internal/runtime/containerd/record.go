package containerd

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/containerd/containerd/v2/core/containers"
	"google.golang.org/protobuf/types/known/anypb"

	"millrace.dev/services/kubelet/internal/runtime"
)

// What a container's record in the daemon bears of ours. The labels are for people and filters; the extension is how it
// was made; the result is how it ended, and once written never changes.
const (
	labelPod    = "millrace.dev/pod"
	labelUID    = "millrace.dev/pod-uid"
	labelName   = "millrace.dev/container"
	labelResult = "millrace.dev/result"
	extension   = "millrace.dev/container"
)

// record is how a container was made.
type record struct {
	PodUID       string            `json:"podUID"`
	PodNamespace string            `json:"podNamespace"`
	PodName      string            `json:"podName"`
	Name         string            `json:"name"`
	Attempt      int               `json:"attempt"`
	Kind         runtime.Kind      `json:"kind"`
	Image        runtime.Image     `json:"image"`
	Cgroup       string            `json:"cgroup"`
	Log          runtime.Log       `json:"log"`
	StopSignal   string            `json:"stopSignal,omitempty"`
	TTY          bool              `json:"tty,omitempty"`
	Stdin        bool              `json:"stdin,omitempty"`
	StdinOnce    bool              `json:"stdinOnce,omitempty"`
	User         runtime.User      `json:"user"`
	Labels       map[string]string `json:"labels,omitempty"`
	// Boot is the boot of the machine in which it was made: after the next one it can only have ended.
	Boot string `json:"boot"`
}

// result is how a container ended.
type result struct {
	Started  time.Time `json:"started,omitzero"`
	Finished time.Time `json:"finished"`
	ExitCode int       `json:"exitCode"`
	Reason   string    `json:"reason"`
	Message  string    `json:"message,omitempty"`
	OOMKills int       `json:"oomKills,omitempty"`
}

// maxMessage keeps a result below the 4,096 bytes that a label may have.
const maxMessage = 2048

func (m *record) extend() (*anypb.Any, error) {
	body, err := json.Marshal(m)
	return &anypb.Any{TypeUrl: extension, Value: body}, err
}

func (m *record) labels() map[string]string {
	return map[string]string{labelPod: m.PodNamespace + "/" + m.PodName, labelUID: m.PodUID, labelName: m.Name}
}

// container is the status of a container that has not started.
func (m *record) container(id string, created time.Time) runtime.Container {
	return runtime.Container{
		ID: id, PodUID: m.PodUID, PodNamespace: m.PodNamespace, PodName: m.PodName,
		Name: m.Name, Attempt: m.Attempt, Kind: m.Kind, Image: m.Image,
		State: runtime.StateCreated, CreatedAt: created, LogPath: m.Log.Path, Cgroup: m.Cgroup,
		TTY: m.TTY, Stdin: m.Stdin, StdinOnce: m.StdinOnce, User: m.User, Labels: m.Labels,
	}
}

// apply makes of the status of a container that of one that has ended.
func (res result) apply(c *runtime.Container) {
	c.State, c.PID = runtime.StateExited, 0
	c.StartedAt, c.FinishedAt = res.Started, res.Finished
	c.ExitCode, c.Reason, c.Message, c.OOMKills = res.ExitCode, res.Reason, res.Message, res.OOMKills
	c.Signal = 0
	if n := res.ExitCode - 128; n > 0 && n < 65 && res.Reason != runtime.ReasonUnknown {
		c.Signal = n
	}
}

// isOurs says that we made a container.
func isOurs(c containers.Container) bool { return c.Extensions[extension] != nil }

// decode reads the record of a container of ours, and its result if it has one.
func decode(c containers.Container) (*record, *result, error) {
	ext := c.Extensions[extension]
	m := &record{}
	if err := json.Unmarshal(ext.GetValue(), m); err != nil {
		return nil, nil, fmt.Errorf("decode container %s: %w", c.ID, err)
	}
	text, ended := c.Labels[labelResult]
	if !ended {
		return m, nil, nil
	}
	res := &result{}
	if err := json.Unmarshal([]byte(text), res); err != nil {
		return nil, nil, fmt.Errorf("decode result of container %s: %w", c.ID, err)
	}
	return m, res, nil
}

// The time of a start is kept in a file: it has to survive us, not the machine, and a file costs the start no commit.

func (r *Runtime) startedFile(id string) string { return filepath.Join(r.cfg.RunDir, startedDir, id) }

func (r *Runtime) noteStart(id string, at time.Time) error {
	return os.WriteFile(r.startedFile(id), strconv.AppendInt(nil, at.UnixNano(), 10), 0o600)
}

// startOf is when a container was started; zero if it was not.
func (r *Runtime) startOf(id string) time.Time {
	body, err := os.ReadFile(r.startedFile(id))
	if err != nil {
		return time.Time{}
	}
	ns, err := strconv.ParseInt(string(body), 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.Unix(0, ns)
}
