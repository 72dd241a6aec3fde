package images

import "strings"

// dockerHub is the registry of names that name none, as everywhere.
const dockerHub = "docker.io"

// FullName completes a name as manifests write it with its registry and its tag: nginx is docker.io/library/nginx:latest. A
// name with a digest keeps it and gets no tag.
func FullName(name string) string {
	if strings.Contains(name, "@") {
		return fullRepository(name)
	}
	if strings.LastIndex(name, ":") <= strings.LastIndex(name, "/") {
		name += ":latest"
	}
	return fullRepository(name)
}

// fullRepository completes the name of a repository with its registry. What follows the repository is kept.
func fullRepository(name string) string {
	first, _, nested := strings.Cut(name, "/")
	switch {
	case nested && strings.ContainsAny(first, ".:") || first == "localhost":
		if rest, ok := strings.CutPrefix(name, dockerHub+"/"); ok && !strings.Contains(rest, "/") {
			return dockerHub + "/library/" + rest
		}
		return name
	case nested:
		return dockerHub + "/" + name
	default:
		return dockerHub + "/library/" + name
	}
}

// splitTag splits a full name into its repository and its tag.
func splitTag(fullName string) (repository, tag string) {
	i := strings.LastIndex(fullName, ":")
	return fullName[:i], fullName[i+1:]
}
