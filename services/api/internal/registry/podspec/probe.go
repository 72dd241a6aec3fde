package podspec

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"

	"millrace.dev/services/api/internal/registry/check"
)

// checkLifeAndProbes checks the hooks and the probes of a container that stays.
func (s *subject) checkLifeAndProbes(at check.At, c *corev1.Container) {
	if l := c.Lifecycle; l != nil {
		s.checkHook(at.Child("lifecycle", "postStart"), l.PostStart)
		s.checkHook(at.Child("lifecycle", "preStop"), l.PreStop)
	}
	if p := c.LivenessProbe; p != nil {
		s.checkProbe(at.Child("livenessProbe"), p)
		demandOneSuccess(at.Child("livenessProbe", "successThreshold"), p)
	}
	if p := c.ReadinessProbe; p != nil {
		s.checkProbe(at.Child("readinessProbe"), p)
		if p.TerminationGracePeriodSeconds != nil {
			at.Child("readinessProbe", "terminationGracePeriodSeconds").Invalid(p.TerminationGracePeriodSeconds, "must not be set for readinessProbes")
		}
	}
	if p := c.StartupProbe; p != nil {
		s.checkProbe(at.Child("startupProbe"), p)
		demandOneSuccess(at.Child("startupProbe", "successThreshold"), p)
	}
}

func demandOneSuccess(at check.At, p *corev1.Probe) {
	if p.SuccessThreshold != 1 {
		at.Invalid(p.SuccessThreshold, "must be 1")
	}
}

func (s *subject) checkProbe(at check.At, p *corev1.Probe) {
	s.checkHandler(at, &handler{exec: p.Exec, http: p.HTTPGet, tcp: p.TCPSocket, grpc: p.GRPC})
	for _, n := range []struct {
		field string
		value int32
	}{
		{"initialDelaySeconds", p.InitialDelaySeconds},
		{"timeoutSeconds", p.TimeoutSeconds},
		{"periodSeconds", p.PeriodSeconds},
		{"successThreshold", p.SuccessThreshold},
		{"failureThreshold", p.FailureThreshold},
	} {
		at.Child(n.field).NotNegative(int64(n.value))
	}
	if g := p.TerminationGracePeriodSeconds; g != nil && *g <= 0 {
		at.Child("terminationGracePeriodSeconds").Invalid(*g, "must be greater than 0")
	}
}

func (s *subject) checkHook(at check.At, h *corev1.LifecycleHandler) {
	if h != nil {
		s.checkHandler(at, &handler{exec: h.Exec, http: h.HTTPGet, tcp: h.TCPSocket, sleep: h.Sleep})
	}
}

// handler is what a probe or a hook does; one of the fields is set.
type handler struct {
	exec  *corev1.ExecAction
	http  *corev1.HTTPGetAction
	tcp   *corev1.TCPSocketAction
	grpc  *corev1.GRPCAction
	sleep *corev1.SleepAction
}

func (s *subject) checkHandler(at check.At, h *handler) {
	found := false
	for _, kind := range []struct {
		field string
		set   bool
		check func(check.At)
	}{
		{"exec", h.exec != nil, func(at check.At) { demandCommand(at.Child("command"), h.exec.Command) }},
		{"httpGet", h.http != nil, func(at check.At) { checkHTTP(at, h.http) }},
		{"tcpSocket", h.tcp != nil, func(at check.At) { checkPort(at.Child("port"), h.tcp.Port) }},
		{"grpc", h.grpc != nil, func(at check.At) { checkPort(at.Child("port"), intstr.FromInt32(h.grpc.Port)) }},
		{"sleep", h.sleep != nil, func(at check.At) { s.checkSleep(at, h.sleep.Seconds) }},
	} {
		switch {
		case !kind.set:
		case found:
			at.Child(kind.field).Forbidden("may not specify more than 1 handler type")
		default:
			found = true
			kind.check(at.Child(kind.field))
		}
	}
	if !found {
		at.Required("must specify a handler type")
	}
}

func demandCommand(at check.At, command []string) {
	if len(command) == 0 {
		at.Required("")
	}
}

func checkHTTP(at check.At, h *corev1.HTTPGetAction) {
	at.Child("path").NotEmpty(h.Path)
	checkPort(at.Child("port"), h.Port)
	check.OneOf(at.Child("scheme"), h.Scheme, corev1.URISchemeHTTP, corev1.URISchemeHTTPS)
	for _, header := range h.HTTPHeaders {
		at.Child("httpHeaders").None(validation.IsHTTPHeaderName(header.Name), header.Name)
	}
}

func (s *subject) checkSleep(at check.At, seconds int64) {
	if grace := s.TerminationGracePeriodSeconds; grace != nil && (seconds < 0 || seconds > *grace) {
		at.Invalid(seconds, fmt.Sprintf("must be non-negative and less than terminationGracePeriodSeconds (%d)", *grace))
	}
}

// checkPort demands the number or the name of a port.
func checkPort(at check.At, port intstr.IntOrString) {
	if port.Type == intstr.String {
		at.None(validation.IsValidPortName(port.StrVal), port.StrVal)
		return
	}
	at.None(validation.IsValidPortNum(port.IntValue()), port.IntValue())
}

func checkPortNumber(at check.At, port int32) {
	at.None(validation.IsValidPortNum(int(port)), port)
}

// checkPortName demands a name that ports can have and that no other port of the container has.
func checkPortName(at check.At, name string, names sets.Set[string]) {
	switch complaints := validation.IsValidPortName(name); {
	case len(complaints) > 0:
		at.None(complaints, name)
	case names.Has(name):
		at.Duplicate(name)
	default:
		names.Insert(name)
	}
}
