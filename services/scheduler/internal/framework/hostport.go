package framework

import (
	"cmp"

	corev1 "k8s.io/api/core/v1"

	"millrace.dev/pkg/podinfo"
)

// anyIP stands for every address of a node.
const anyIP = "0.0.0.0"

// HostPort is a port of a node: of one of its addresses, or of all.
type HostPort struct {
	Protocol corev1.Protocol
	IP       string
	Port     int32
}

// Conflicts says that two cannot be on one node: the same port of one protocol, and an address in common.
func (p HostPort) Conflicts(q HostPort) bool {
	return p.Port == q.Port && p.Protocol == q.Protocol && (p.IP == q.IP || p.IP == anyIP || q.IP == anyIP)
}

func hostPorts(pod *corev1.Pod) []HostPort {
	var ports []HostPort
	for _, p := range podinfo.HostPorts(pod) {
		ports = append(ports, HostPort{cmp.Or(p.Protocol, corev1.ProtocolTCP), cmp.Or(p.HostIP, anyIP), p.HostPort})
	}
	return ports
}
