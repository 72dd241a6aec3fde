package state_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"millrace.dev/pkg/objtest"
	"millrace.dev/pkg/state"
)

func TestConfigRefs(t *testing.T) {
	local := func(name string) corev1.LocalObjectReference { return corev1.LocalObjectReference{Name: name} }
	env := func(configMap, secret string) corev1.Container {
		return corev1.Container{
			Name: "c-" + configMap,
			EnvFrom: []corev1.EnvFromSource{
				{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: local(configMap + "-all")}},
				{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: local(secret + "-all")}},
				{Prefix: "neither"},
			},
			Env: []corev1.EnvVar{
				{Name: "A", Value: "plain"},
				{Name: "B", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: local(configMap), Key: "k"}}},
				{Name: "C", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: local(secret), Key: "k"}}},
				{Name: "D", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}},
			},
		}
	}
	volume := func(source corev1.VolumeSource) corev1.Volume { return corev1.Volume{VolumeSource: source} }
	tests := []struct {
		name string
		pod  *objtest.PodBuilder
		want []string
	}{
		{name: "none", pod: objtest.Pod("web")},
		{
			name: "environment", pod: objtest.Pod("web").Container(env("c", "s")),
			want: []string{"configmaps/shop/c-all", "secrets/shop/s-all", "configmaps/shop/c", "secrets/shop/s"},
		},
		{
			name: "environment of an init container", pod: objtest.Pod("web").Init(env("c", "s")),
			want: []string{"configmaps/shop/c-all", "secrets/shop/s-all", "configmaps/shop/c", "secrets/shop/s"},
		},
		{
			name: "volumes",
			pod: objtest.Pod("web").Volume(volume(corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}})).
				Volume(volume(corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: local("c")}})).
				Volume(volume(corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "s"}})),
			want: []string{"configmaps/shop/c", "secrets/shop/s"},
		},
		{
			name: "projected volume",
			pod: objtest.Pod("web").Volume(volume(corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
				{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: local("c")}},
				{Secret: &corev1.SecretProjection{LocalObjectReference: local("s")}},
				{DownwardAPI: &corev1.DownwardAPIProjection{}},
			}}})),
			want: []string{"configmaps/shop/c", "secrets/shop/s"},
		},
		{
			name: "each once", pod: objtest.Pod("web").Container(env("c", "s")).Container(env("c", "s")).
				Volume(volume(corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: local("c")}})),
			want: []string{"configmaps/shop/c-all", "secrets/shop/s-all", "configmaps/shop/c", "secrets/shop/s"},
		},
		{
			name: "a reference without a name refers to nothing",
			pod:  objtest.Pod("web").Volume(volume(corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{}})),
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, ref := range state.ConfigRefs(tt.pod.Namespace("shop").Obj()) {
				got = append(got, ref.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("ConfigRefs (-want +got):\n%s", diff)
			}
		})
	}
	pod := objtest.Pod("web").Obj()
	pod.Spec.ImagePullSecrets = []corev1.LocalObjectReference{local("registry")}
	want := []state.ObjectRef{{Resource: "secrets", Namespace: "default", Name: "registry"}}
	if diff := cmp.Diff(want, state.ConfigRefs(pod)); diff != "" {
		t.Errorf("ConfigRefs of image pull secrets (-want +got):\n%s", diff)
	}
}
