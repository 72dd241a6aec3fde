package podinfo

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	"pgregory.net/rapid"
)

// amounts reads pairs of a resource and an amount.
func amounts(pairs ...string) corev1.ResourceList {
	list := corev1.ResourceList{}
	for i := 0; i < len(pairs); i += 2 {
		list[corev1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
	}
	return list
}

func both(list corev1.ResourceList) corev1.ResourceRequirements {
	return corev1.ResourceRequirements{Requests: list, Limits: list}
}

func container(r corev1.ResourceRequirements) corev1.Container { return corev1.Container{Resources: r} }

func sidecar(r corev1.ResourceRequirements) corev1.Container {
	return corev1.Container{Resources: r, RestartPolicy: new(corev1.ContainerRestartPolicyAlways)}
}

func TestRequestsAndLimits(t *testing.T) {
	tests := []struct {
		name      string
		init, app []corev1.Container
		pod       *corev1.ResourceRequirements
		overhead  corev1.ResourceList
		want      corev1.ResourceList
		limits    corev1.ResourceList // nil: as want
	}{
		{name: "nothing", app: []corev1.Container{{}}, want: amounts()},
		{
			name: "containers add up",
			app:  []corev1.Container{container(both(amounts("cpu", "1", "memory", "1Gi"))), container(both(amounts("cpu", "500m", "example.com/gpu", "1")))},
			want: amounts("cpu", "1500m", "memory", "1Gi", "example.com/gpu", "1"),
		},
		{
			name: "init containers run one by one",
			init: []corev1.Container{container(both(amounts("cpu", "2"))), container(both(amounts("cpu", "1", "memory", "3Gi")))},
			app:  []corev1.Container{container(both(amounts("cpu", "1", "memory", "1Gi")))},
			want: amounts("cpu", "2", "memory", "3Gi"),
		},
		{
			name: "sidecars stay",
			init: []corev1.Container{sidecar(both(amounts("cpu", "1")))},
			app:  []corev1.Container{container(both(amounts("cpu", "1")))},
			want: amounts("cpu", "2"),
		},
		{
			name: "an init container runs beside the sidecars before it",
			init: []corev1.Container{sidecar(both(amounts("cpu", "1"))), container(both(amounts("cpu", "3"))), sidecar(both(amounts("cpu", "500m")))},
			app:  []corev1.Container{container(both(amounts("cpu", "1")))},
			want: amounts("cpu", "4"),
		},
		{
			name: "a sidecar that starts later does not",
			init: []corev1.Container{container(both(amounts("cpu", "2"))), sidecar(both(amounts("cpu", "1")))},
			app:  []corev1.Container{container(both(amounts("cpu", "1500m")))},
			want: amounts("cpu", "2500m"),
		},
		{
			name: "what the pod names wins",
			app:  []corev1.Container{container(both(amounts("cpu", "3", "memory", "1Gi")))},
			pod:  &corev1.ResourceRequirements{Requests: amounts("cpu", "2"), Limits: amounts("cpu", "2")},
			want: amounts("cpu", "2", "memory", "1Gi"),
		},
		{
			name:     "overhead is always requested, and limited where there is a limit",
			app:      []corev1.Container{container(corev1.ResourceRequirements{Requests: amounts("cpu", "1"), Limits: amounts("cpu", "0", "memory", "1Gi")})},
			overhead: amounts("cpu", "100m", "memory", "10Mi"),
			want:     amounts("cpu", "1100m", "memory", "10Mi"),
			limits:   amounts("cpu", "0", "memory", "1034Mi"),
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pod := &corev1.Pod{Spec: corev1.PodSpec{InitContainers: tt.init, Containers: tt.app, Resources: tt.pod, Overhead: tt.overhead}}
			before := pod.DeepCopy()
			limits := tt.limits
			if limits == nil {
				limits = tt.want
			}
			if got := Requests(pod); !equality.Semantic.DeepEqual(got, tt.want) {
				t.Errorf("Requests = %v, want %v", got, tt.want)
			}
			if got := Limits(pod); !equality.Semantic.DeepEqual(got, limits) {
				t.Errorf("Limits = %v, want %v", got, limits)
			}
			if !equality.Semantic.DeepEqual(pod, before) {
				t.Error("the pod changed: its amounts are shared with the answer")
			}
		})
	}
}

func TestMilliCPUAndBytes(t *testing.T) {
	list := amounts("cpu", "1500m", "memory", "1Ki")
	if got := MilliCPU(list); got != 1500 {
		t.Errorf("MilliCPU = %d, want 1500", got)
	}
	if got := Bytes(list, corev1.ResourceMemory); got != 1024 {
		t.Errorf("Bytes = %d, want 1024", got)
	}
	if got := Bytes(list, corev1.ResourceEphemeralStorage); got != 0 {
		t.Errorf("Bytes of what is absent = %d, want 0", got)
	}
}

func TestQoSClass(t *testing.T) {
	full := both(amounts("cpu", "1", "memory", "1Gi"))
	tests := []struct {
		name      string
		init, app []corev1.Container
		pod       *corev1.ResourceRequirements
		want      corev1.PodQOSClass
	}{
		{name: "nothing", app: []corev1.Container{{}}, want: corev1.PodQOSBestEffort},
		{name: "zero is nothing", app: []corev1.Container{container(both(amounts("cpu", "0", "memory", "0")))}, want: corev1.PodQOSBestEffort},
		{name: "other resources count for nothing", app: []corev1.Container{container(both(amounts("example.com/gpu", "1")))}, want: corev1.PodQOSBestEffort},
		{name: "everything", app: []corev1.Container{container(full), container(full)}, want: corev1.PodQOSGuaranteed},
		{name: "one of the two resources", app: []corev1.Container{container(both(amounts("cpu", "1")))}, want: corev1.PodQOSBurstable},
		{name: "one of two containers", app: []corev1.Container{container(full), {}}, want: corev1.PodQOSBurstable},
		{name: "init containers count", init: []corev1.Container{{}}, app: []corev1.Container{container(full)}, want: corev1.PodQOSBurstable},
		{name: "a request below its limit", app: []corev1.Container{container(corev1.ResourceRequirements{Requests: amounts("cpu", "1", "memory", "1"), Limits: amounts("cpu", "1", "memory", "2")})}, want: corev1.PodQOSBurstable},
		{name: "a limit without request, before defaulting", app: []corev1.Container{container(corev1.ResourceRequirements{Limits: amounts("cpu", "1", "memory", "2")})}, want: corev1.PodQOSBurstable},
		{name: "the pod decides alone", app: []corev1.Container{{}}, pod: &full, want: corev1.PodQOSGuaranteed},
		{name: "the pod decides alone, downwards too", app: []corev1.Container{container(full)}, pod: &corev1.ResourceRequirements{Requests: amounts("cpu", "1")}, want: corev1.PodQOSBurstable},
		{name: "the pod names nothing", app: []corev1.Container{container(full)}, pod: &corev1.ResourceRequirements{}, want: corev1.PodQOSGuaranteed},
	}
	for _, tt := range tests {
		pod := &corev1.Pod{Spec: corev1.PodSpec{InitContainers: tt.init, Containers: tt.app, Resources: tt.pod}}
		if got := QoSClass(pod); got != tt.want {
			t.Errorf("%s: QoSClass = %s, want %s", tt.name, got, tt.want)
		}
	}
}

// A pod's requests are what its containers need at the worst moment: never less than any moment, never more than all.
func TestRequestsCoverEveryMoment(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		draw := func(label string) int64 { return rapid.Int64Range(0, 5).Draw(r, label) }
		pod, everything, sidecars, worst := &corev1.Pod{}, int64(0), int64(0), int64(0)
		for range rapid.IntRange(0, 4).Draw(r, "init") {
			n := draw("cpu of init")
			c := container(both(corev1.ResourceList{"cpu": *resource.NewQuantity(n, resource.DecimalSI)}))
			everything += n
			worst = max(worst, sidecars+n)
			if rapid.Bool().Draw(r, "sidecar") {
				c.RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
				sidecars += n
			}
			pod.Spec.InitContainers = append(pod.Spec.InitContainers, c)
		}
		running := sidecars
		for range rapid.IntRange(1, 4).Draw(r, "app") {
			n := draw("cpu of app")
			everything += n
			running += n
			pod.Spec.Containers = append(pod.Spec.Containers, container(both(corev1.ResourceList{"cpu": *resource.NewQuantity(n, resource.DecimalSI)})))
		}
		requests := Requests(pod)
		got := requests.Cpu().Value()
		if want := max(worst, running); got != want {
			r.Fatalf("Requests = %d CPUs, want %d", got, want)
		}
		if got > everything {
			r.Fatalf("Requests = %d CPUs, but all containers together have %d", got, everything)
		}
	})
}
