package describe

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"millrace.dev/pkg/podinfo"
)

func tellContainers(w *writer, title string, p *corev1.Pod, containers []corev1.Container, statuses []corev1.ContainerStatus) {
	w.line(0, "%s:", title)
	for i := range containers {
		c := &containers[i]
		tellContainer(w, c, podinfo.ContainerStatus(statuses, c.Name))
		tellEnvironment(w, p, c)
		tellMounts(w, c)
	}
}

// tellContainer writes a container up to its environment.
func tellContainer(w *writer, c *corev1.Container, s *corev1.ContainerStatus) {
	w.line(1, "%s:", c.Name)
	if s != nil {
		w.field(2, "Container ID", s.ContainerID)
	}
	w.field(2, "Image", c.Image)
	if s != nil {
		w.field(2, "Image ID", s.ImageID)
	}
	tellPorts(w, "Port", c.Ports, func(p *corev1.ContainerPort) int32 { return p.ContainerPort })
	tellPorts(w, "Host Port", c.Ports, func(p *corev1.ContainerPort) int32 { return p.HostPort })
	if c.SecurityContext != nil {
		tellSeccomp(w, 2, 3, c.SecurityContext.SeccompProfile)
	}
	tellWords(w, "Command", c.Command)
	tellWords(w, "Args", c.Args)
	if s != nil {
		tellState(w, "State", &s.State)
		if s.LastTerminationState.Terminated != nil {
			tellState(w, "Last State", &s.LastTerminationState)
		}
		w.field(2, "Ready", truth(s.Ready))
		w.field(2, "Restart Count", s.RestartCount)
	}
	tellResources(w, 2, &c.Resources)
	tellProbe(w, "Liveness", c.LivenessProbe)
	tellProbe(w, "Readiness", c.ReadinessProbe)
	tellProbe(w, "Startup", c.StartupProbe)
}

func tellPorts(w *writer, title string, ports []corev1.ContainerPort, number func(*corev1.ContainerPort) int32) {
	texts := make([]string, len(ports))
	for i := range ports {
		texts[i] = fmt.Sprintf("%d/%s", number(&ports[i]), ports[i].Protocol)
		if ports[i].Name != "" {
			texts[i] += " (" + ports[i].Name + ")"
		}
	}
	if len(ports) > 1 {
		title += "s"
	}
	w.field(2, title, orNone(strings.Join(texts, ", ")))
}

// tellWords writes a command line, one word a line.
func tellWords(w *writer, title string, words []string) {
	if len(words) == 0 {
		return
	}
	w.line(2, "%s:", title)
	for _, word := range words {
		for line := range strings.SplitSeq(word, "\n") {
			w.line(3, "%s", line)
		}
	}
}

func tellState(w *writer, title string, s *corev1.ContainerState) {
	switch {
	case s.Running != nil:
		w.field(2, title, "Running")
		w.field(3, "Started", date(s.Running.StartedAt.Time))
	case s.Terminated != nil:
		w.field(2, title, "Terminated")
		w.fieldUnlessEmpty(3, "Reason", s.Terminated.Reason)
		w.fieldUnlessEmpty(3, "Message", s.Terminated.Message)
		w.field(3, "Exit Code", s.Terminated.ExitCode)
		if s.Terminated.Signal > 0 {
			w.field(3, "Signal", s.Terminated.Signal)
		}
		w.field(3, "Started", date(s.Terminated.StartedAt.Time))
		w.field(3, "Finished", date(s.Terminated.FinishedAt.Time))
	default:
		w.field(2, title, "Waiting")
		if s.Waiting != nil {
			w.fieldUnlessEmpty(3, "Reason", s.Waiting.Reason)
		}
	}
}

func tellResources(w *writer, level int, r *corev1.ResourceRequirements) {
	for _, part := range []struct {
		title string
		list  corev1.ResourceList
	}{{"Limits", r.Limits}, {"Requests", r.Requests}} {
		if len(part.list) > 0 {
			w.line(level, "%s:", part.title)
			tellQuantities(w, level+1, part.list)
		}
	}
}

func tellQuantities(w *writer, level int, list corev1.ResourceList) {
	for _, name := range slices.Sorted(maps.Keys(list)) {
		amount := list[name]
		w.field(level, string(name), amount.String())
	}
}

func tellProbe(w *writer, title string, p *corev1.Probe) {
	if p == nil {
		return
	}
	times := fmt.Sprintf("delay=%ds timeout=%ds period=%ds successThreshold=%d failureThreshold=%d",
		p.InitialDelaySeconds, p.TimeoutSeconds, p.PeriodSeconds, p.SuccessThreshold, p.FailureThreshold)
	w.field(2, title, probed(p)+" "+times)
}

// probed is what a probe does.
func probed(p *corev1.Probe) string {
	switch {
	case p.Exec != nil:
		return fmt.Sprintf("exec %v", p.Exec.Command)
	case p.HTTPGet != nil:
		u := url.URL{Scheme: strings.ToLower(string(p.HTTPGet.Scheme)), Host: p.HTTPGet.Host, Path: p.HTTPGet.Path}
		if p.HTTPGet.Port != (intstr.IntOrString{}) {
			u.Host = net.JoinHostPort(p.HTTPGet.Host, p.HTTPGet.Port.String())
		}
		return "http-get " + u.String()
	case p.TCPSocket != nil:
		return fmt.Sprintf("tcp-socket %s:%s", p.TCPSocket.Host, p.TCPSocket.Port.String())
	case p.GRPC != nil:
		service := ""
		if p.GRPC.Service != nil {
			service = *p.GRPC.Service
		}
		return fmt.Sprintf("grpc <pod>:%d %s", p.GRPC.Port, service)
	default:
		return "unknown"
	}
}

func tellEnvironment(w *writer, p *corev1.Pod, c *corev1.Container) {
	if len(c.EnvFrom) > 0 {
		w.line(2, "Environment Variables from:")
		for _, from := range c.EnvFrom {
			name, kind, optional := envSource(&from)
			if from.Prefix != "" {
				kind += fmt.Sprintf(" with prefix '%s'", from.Prefix)
			}
			w.line(3, "%s\t%s\tOptional: %t", name, kind, optional)
		}
	}
	if len(c.Env) == 0 {
		w.field(2, "Environment", none)
		return
	}
	w.line(2, "Environment:")
	for i := range c.Env {
		tellVariable(w, p, c, &c.Env[i])
	}
}

func envSource(from *corev1.EnvFromSource) (name, kind string, optional bool) {
	switch {
	case from.ConfigMapRef != nil:
		return from.ConfigMapRef.Name, "ConfigMap", isTrue(from.ConfigMapRef.Optional)
	case from.SecretRef != nil:
		return from.SecretRef.Name, "Secret", isTrue(from.SecretRef.Optional)
	default:
		return "", "", false
	}
}

func isTrue(b *bool) bool { return b != nil && *b }

func tellVariable(w *writer, p *corev1.Pod, c *corev1.Container, e *corev1.EnvVar) {
	from := e.ValueFrom
	switch {
	case from == nil:
		for i, line := range strings.Split(e.Value, "\n") {
			if i == 0 {
				w.field(3, e.Name, line)
			} else {
				w.line(3, "\t%s", line)
			}
		}
	case from.FieldRef != nil:
		w.line(3, "%s:\t%s (%s:%s)", e.Name, podField(p, from.FieldRef.FieldPath), from.FieldRef.APIVersion, from.FieldRef.FieldPath)
	case from.ResourceFieldRef != nil:
		w.line(3, "%s:\t%s (%s)", e.Name, containerField(c, from.ResourceFieldRef), from.ResourceFieldRef.Resource)
	case from.SecretKeyRef != nil:
		w.line(3, "%s:\t<set to the key '%s' in secret '%s'>\tOptional: %t", e.Name, from.SecretKeyRef.Key, from.SecretKeyRef.Name, isTrue(from.SecretKeyRef.Optional))
	case from.ConfigMapKeyRef != nil:
		w.line(3, "%s:\t<set to the key '%s' of config map '%s'>\tOptional: %t", e.Name, from.ConfigMapKeyRef.Key, from.ConfigMapKeyRef.Name, isTrue(from.ConfigMapKeyRef.Optional))
	}
}

func tellMounts(w *writer, c *corev1.Container) {
	if len(c.VolumeMounts) == 0 {
		w.field(2, "Mounts", none)
	} else {
		w.line(2, "Mounts:")
	}
	mounts := slices.Clone(c.VolumeMounts)
	slices.SortStableFunc(mounts, func(a, b corev1.VolumeMount) int { return cmp.Compare(a.MountPath, b.MountPath) })
	for _, m := range mounts {
		flags := "rw"
		if m.ReadOnly {
			flags = "ro"
		}
		if m.SubPath != "" {
			flags += fmt.Sprintf(",path=%q", m.SubPath)
		}
		w.line(3, "%s from %s (%s)", m.MountPath, m.Name, flags)
	}
	if len(c.VolumeDevices) == 0 {
		return
	}
	w.line(2, "Devices:")
	devices := slices.Clone(c.VolumeDevices)
	slices.SortStableFunc(devices, func(a, b corev1.VolumeDevice) int { return cmp.Compare(a.DevicePath, b.DevicePath) })
	for _, v := range devices {
		w.line(3, "%s from %s", v.DevicePath, v.Name)
	}
}
