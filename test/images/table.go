package images

import (
	"fmt"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// ownRegistry is where the images live that stand in for nothing: a name that can lead nowhere else.
const ownRegistry = "millrace.test"

// standIn is one small image with all the names that it answers to.
type standIn struct {
	name   string    // how people and commands call it
	layers []string  // names of layers, the lowest first
	config v1.Config // how it is run; PATH is the same for all
	names  []string  // repository and tags: "registry.k8s.io/pause 3.8 latest"; each tag is an image of its own
	tagEnv string    // the variable that tells the program its tag, as a format; empty: none
}

// table lists every image there is.
func table() []standIn {
	tools := []string{"base"}
	program := []string{"base", "bench"}
	dynamic := func(layers ...string) []string { return append([]string{"base", "libc"}, layers...) }
	return []standIn{
		{name: "agnhost", layers: program, config: v1.Config{Entrypoint: []string{"/agnhost"}, Cmd: []string{"pause"}}, names: []string{
			"registry.k8s.io/e2e-test-images/agnhost 2.45 2.66.1",
		}},
		{name: "alpine", layers: []string{"base", "alpine"}, config: v1.Config{Cmd: []string{"/bin/sh"}}, names: []string{
			"docker.io/library/alpine latest",
		}},
		{name: "bash", layers: dynamic("bash"), config: v1.Config{Cmd: []string{"bash"}}, names: []string{
			"docker.io/library/bash latest 5",
		}},
		{name: "burn", layers: program, config: v1.Config{Entrypoint: []string{"/burn"}}, names: own("burn", "v1")},
		{name: "busybox", layers: tools, config: v1.Config{Cmd: []string{"sh"}}, names: []string{
			"docker.io/library/busybox latest 1.28",
			"registry.k8s.io/busybox latest 1.27.2",
			"registry.k8s.io/e2e-test-images/busybox 1.36.1-1",
		}},
		{name: "crash", layers: program, config: v1.Config{Entrypoint: []string{"/crash"}}, names: own("crash", "v1")},
		{name: "debian", layers: dynamic("bash", "debian"), config: v1.Config{Cmd: []string{"bash"}}, names: []string{
			"docker.io/library/debian latest",
		}},
		{name: "echo", layers: program, config: v1.Config{Entrypoint: []string{"/echo"}}, tagEnv: "VERSION=%s", names: append(
			own("echo", "latest v1 v2 v3"), own("private/echo", "v1")...,
		)},
		{name: "hello-app", layers: program, config: v1.Config{Entrypoint: []string{"/hello-app"}}, tagEnv: "VERSION=%s.0", names: []string{
			"gcr.io/google-samples/hello-app 1.0 2.0",
		}},
		{name: "http-echo", layers: program, config: v1.Config{Entrypoint: []string{"/http-echo"}}, names: []string{
			"docker.io/hashicorp/http-echo 1.0",
		}},
		{name: "init-tools", layers: tools, config: v1.Config{Cmd: []string{"sh"}}, names: own("init-tools", "v1")},
		{name: "nginx", layers: dynamic("ssl", "nginx"), config: nginxConfig(), tagEnv: "NGINX_VERSION=%s", names: []string{
			"docker.io/library/nginx latest 1.7.9 1.14.2 1.29",
			"registry.k8s.io/nginx 1.7.9 test-cmd",
		}},
		{name: "nginx-slim", layers: dynamic("ssl", "nginx"), config: nginxConfig(), tagEnv: "NGINX_VERSION=%s", names: []string{
			"registry.k8s.io/nginx-slim 0.7 0.8 0.24",
		}},
		{name: "node-hello", layers: program, config: v1.Config{Entrypoint: []string{"/node-hello"}}, names: []string{
			"gcr.io/google-samples/node-hello 1.0",
		}},
		{name: "pause", layers: []string{"pause"}, config: v1.Config{Entrypoint: []string{"/pause"}}, names: []string{
			"registry.k8s.io/pause latest 2.0 3.1 3.4 3.7 3.8 3.10.1 3.10.2",
		}},
		{name: "probe-client", layers: program, config: v1.Config{Entrypoint: []string{"/probe-client"}}, names: own("probe-client", "v1")},
		{name: "redis", layers: dynamic("ssl", "redis"), config: redisConfig(), tagEnv: "REDIS_VERSION=%s", names: []string{
			"docker.io/library/redis latest 5 7.2",
			"registry.k8s.io/redis e2e",
			"registry.k8s.io/e2e-test-images/redis 5.0.5-alpine",
		}},
		{name: "serve_hostname", layers: program, config: v1.Config{Entrypoint: []string{"/serve_hostname"}}, names: []string{
			"registry.k8s.io/serve_hostname latest",
		}},
		{name: "worker", layers: []string{"base", "worker"}, config: v1.Config{Entrypoint: []string{"/worker"}}, names: own("worker", "v1")},
		{name: "writer", layers: program, config: v1.Config{Entrypoint: []string{"/writer"}}, names: own("writer", "v1")},
	}
}

// own names an image of ours.
func own(repository, tags string) []string {
	return []string{ownRegistry + "/" + repository + " " + tags}
}

func nginxConfig() v1.Config {
	return v1.Config{
		Cmd: []string{"nginx", "-g", "daemon off;"}, StopSignal: "SIGQUIT",
		ExposedPorts: map[string]struct{}{"80/tcp": {}},
	}
}

func redisConfig() v1.Config {
	return v1.Config{
		Entrypoint: []string{"docker-entrypoint.sh"}, Cmd: []string{"redis-server"}, WorkingDir: "/data",
		ExposedPorts: map[string]struct{}{"6379/tcp": {}},
	}
}

// layer is one layer, which any number of images share. Its parts are put together in the order of the fields; a later one
// replaces files of an earlier one.
type layer struct {
	name     string
	packages []string          // Debian packages; no script of theirs is run
	applets  bool              // a link to busybox for each of its applets
	files    bool              // the folder of this name below files/: what lies in a bin folder can be run
	program  string            // one of our programs, at this path
	links    map[string]string // symbolic links and their targets
	folders  map[string]int64  // empty folders and their modes
}

// layers lists every layer there is.
func layers() []layer {
	usr := map[string]string{"var/run": "/run", "etc/mtab": "/proc/mounts"}
	for _, folder := range merged {
		usr[folder] = "usr/" + folder
	}
	called := map[string]string{}
	for _, name := range []string{
		"agnhost", "burn", "crash", "echo", "hello-app", "http-echo", "node-hello", "probe-client", "serve_hostname", "writer",
	} {
		called[name] = "bench"
	}
	return []layer{
		{
			name: "base", packages: []string{"busybox-static"}, applets: true, files: true, links: usr, folders: map[string]int64{
				"dev": 0o755, "home/web": 0o755, "opt": 0o755, "proc": 0o555, "root": 0o700, "run": 0o755, "srv": 0o755, "sys": 0o555,
				"tmp": 0o1777, "usr/lib": 0o755, "usr/lib64": 0o755, "usr/sbin": 0o755, "var/log": 0o755, "var/tmp": 0o1777,
			},
		},
		{name: "alpine", files: true},
		{name: "bash", packages: []string{"bash", "libtinfo6"}, links: map[string]string{"usr/local/bin/bash": "/usr/bin/bash"}},
		{name: "bench", program: "bench", links: called},
		{name: "debian", files: true},
		{name: "libc", packages: []string{"libc6"}},
		{
			name: "nginx", packages: []string{"nginx", "nginx-common", "libcrypt1", "libpcre2-8-0"}, files: true,
			folders: map[string]int64{"run": 0o1777, "var/lib/nginx": 0o777},
		},
		{name: "pause", program: "pause"},
		{
			name: "redis", files: true, folders: map[string]int64{"data": 0o777}, packages: []string{
				"redis-server", "redis-tools", "libatomic1", "libcap2", "libgcc-s1", "libgcrypt20", "libgpg-error0", "libjemalloc2",
				"liblua5.1-0", "liblz4-1", "liblzf1", "liblzma5", "libstdc++6", "libsystemd0", "libzstd1", "lua-bitop", "lua-cjson",
			},
		},
		{name: "ssl", packages: []string{"libssl3", "zlib1g"}},
		{name: "worker", program: "worker"},
	}
}

// fullNames returns the full name of every tag of a stand-in.
func (s standIn) fullNames() []string {
	var names []string
	for _, n := range s.names {
		repository, tags, _ := strings.Cut(n, " ")
		for tag := range strings.FieldsSeq(tags) {
			names = append(names, repository+":"+tag)
		}
	}
	return names
}

// configFor is how the image of one name is run. The name is in a label, which makes every name an image of its own: tests
// can tell which one they have got.
func (s standIn) configFor(fullName string) v1.Config {
	_, tag := splitTag(fullName)
	c := s.config
	c.Env = append(slices.Clip(c.Env), "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	if s.tagEnv != "" {
		c.Env = append(c.Env, fmt.Sprintf(s.tagEnv, tag))
	}
	c.Labels = map[string]string{
		"org.opencontainers.image.ref.name": fullName,
		"org.opencontainers.image.title":    s.name,
		"org.opencontainers.image.version":  tag,
	}
	return c
}

// StandIn is an entry of the table of images, for people.
type StandIn struct {
	Name  string   // how it is called
	Names []string // full names that it is served by
}

// StandIns lists the images that [Build] makes.
func StandIns() []StandIn {
	var all []StandIn
	for _, s := range table() {
		all = append(all, StandIn{Name: s.name, Names: s.fullNames()})
	}
	return all
}

// Names returns the full names of all images, sorted. [FullName] makes one of what a manifest says.
func Names() []string {
	var names []string
	for _, s := range table() {
		names = append(names, s.fullNames()...)
	}
	slices.Sort(names)
	return names
}
