// Package images makes the container images that tests run, and serves them from a registry on loopback, so that unmodified
// manifests run with nothing outside the machine.
//
// It owns the table of stand-ins (table.go): small images, made of Debian packages and of our own static programs, that
// answer to the names and tags the manifests use. [Build] makes what is missing or out of date in a directory that is an OCI
// image layout; [Open] reads it; a [Registry] serves it as a mirror of every registry that the table names, with
// authentication and with faults on demand.
//
// The same inputs give the same digests: packages, programs, files, the Go version and this package's own code. Any number
// of builds may share a directory, and one that is cut off leaves nothing that a later one trusts. Images are for
// linux/amd64; downloads need apt-get and the machine's own configuration of it.
package images
