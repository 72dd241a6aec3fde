package target

import (
	"context"

	corev1 "k8s.io/api/core/v1"

	"millrace.dev/pkg/client"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/state"
	"millrace.dev/pkg/wire"
)

// Session begins a session with the kubelet of a pod. When ctx ends, the session is closed in order, so that the kubelet hears of
// it at once; done must be called when the session is no longer needed, and does the same.
func Session(ctx context.Context, api *client.Client, verb string, pod *corev1.Pod, options any) (session *wire.Session, done func(), err error) {
	alive, kill := context.WithCancel(context.WithoutCancel(ctx))
	asked := context.AfterFunc(ctx, kill) // while nobody has answered, there is nothing to be closed
	ref := state.ObjectRef{Resource: scheme.Pods, Namespace: pod.Namespace, Name: pod.Name}
	session, err = api.Session(alive, verb, ref, options)
	asked()
	if err != nil {
		kill()
		return nil, nil, err
	}
	closing := context.AfterFunc(ctx, func() { session.Close(nil) })
	return session, func() {
		closing()
		session.Close(nil)
		kill()
	}, nil
}
