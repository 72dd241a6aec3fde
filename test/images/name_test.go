package images

import "testing"

func TestFullName(t *testing.T) {
	for _, tt := range []struct{ name, want string }{
		{name: "nginx", want: "docker.io/library/nginx:latest"},
		{name: "nginx:1.14.2", want: "docker.io/library/nginx:1.14.2"},
		{name: "docker.io/nginx", want: "docker.io/library/nginx:latest"},
		{name: "docker.io/library/bash:5", want: "docker.io/library/bash:5"},
		{name: "hashicorp/http-echo:1.0", want: "docker.io/hashicorp/http-echo:1.0"},
		{name: "registry.k8s.io/pause", want: "registry.k8s.io/pause:latest"},
		{name: "registry.k8s.io/e2e-test-images/agnhost:2.45", want: "registry.k8s.io/e2e-test-images/agnhost:2.45"},
		{name: "localhost/web", want: "localhost/web:latest"},
		{name: "127.0.0.1:5000/web", want: "127.0.0.1:5000/web:latest"},
		{name: "127.0.0.1:5000/web:v1", want: "127.0.0.1:5000/web:v1"},
		{name: "nginx@sha256:ab", want: "docker.io/library/nginx@sha256:ab"},
		{name: "registry.k8s.io/pause:3.8@sha256:ab", want: "registry.k8s.io/pause:3.8@sha256:ab"},
	} {
		if got := FullName(tt.name); got != tt.want {
			t.Errorf("FullName(%q) = %q, want %q", tt.name, got, tt.want)
		}
	}
}
