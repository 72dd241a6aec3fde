// Package logger writes the log of one container. It is the inside of the process millrace-logger, one of which lives
// beside each container: it is started by the container's shim (or, if the container has an input, by the kubelet), it needs
// nobody, it outlives kubelet and containerd, and it ends when the container's pipes close.
//
// What it writes is the format of the Kubernetes container runtime interface, one record a line:
//
//	2026-01-02T03:04:05.678901234Z stdout F the text of a whole line
//	2026-01-02T03:04:05.678901234Z stderr P a piece of a line longer than 16 KiB
//
// Records are never torn: a file is rotated between two records. The package allocates nothing while it copies, which
// keeps the process small; package logs reads what this one writes.
package logger
