// Package podworker keeps one pod as its order says: one goroutine a pod, which looks at what there is, asks step what is to be
// done next, does it, and looks again. It is woken by a new order, by the end of a container, or by a time that step named.
//
// Everything that is decided is in step (what to do) and in status (what to report): both are pure. What is done is in act.
// Nothing is kept that cannot be found again after the kubelet was killed: what runs and how it ended is asked of the
// runtime, how long to wait before a restart stands in the label of the container that ended.
package podworker
