package podspec

import (
	"cmp"
	"regexp"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Default fills in what Kubernetes fills in for every pod spec, that of a template too.
func Default(spec *corev1.PodSpec) {
	spec.ServiceAccountName = cmp.Or(spec.ServiceAccountName, spec.DeprecatedServiceAccount)
	spec.DeprecatedServiceAccount = spec.ServiceAccountName
	spec.DNSPolicy = cmp.Or(spec.DNSPolicy, corev1.DNSClusterFirst)
	spec.RestartPolicy = cmp.Or(spec.RestartPolicy, corev1.RestartPolicyAlways)
	spec.SchedulerName = cmp.Or(spec.SchedulerName, corev1.DefaultSchedulerName)
	if spec.SecurityContext == nil {
		spec.SecurityContext = &corev1.PodSecurityContext{}
	}
	fill(&spec.TerminationGracePeriodSeconds, corev1.DefaultTerminationGracePeriodSeconds)
	roundUp(spec.Overhead)
	if spec.Resources != nil {
		roundUp(spec.Resources.Limits, spec.Resources.Requests)
	}
	for i := range spec.Volumes {
		defaultVolume(&spec.Volumes[i])
	}
	for c := range containers(spec) {
		defaultContainer(c)
	}
}

// fill sets a field that nobody set.
func fill[T any](field **T, value T) {
	if *field == nil {
		*field = &value
	}
}

// roundUp cuts amounts to thousandths, the finest that is kept.
func roundUp(lists ...corev1.ResourceList) {
	for _, list := range lists {
		for name, amount := range list {
			amount.RoundUp(resource.Milli)
			list[name] = amount
		}
	}
}

func defaultContainer(c *corev1.Container) {
	c.ImagePullPolicy = cmp.Or(c.ImagePullPolicy, pullPolicy(c.Image))
	c.TerminationMessagePath = cmp.Or(c.TerminationMessagePath, corev1.TerminationMessagePathDefault)
	c.TerminationMessagePolicy = cmp.Or(c.TerminationMessagePolicy, corev1.TerminationMessageReadFile)
	for i := range c.Ports {
		c.Ports[i].Protocol = cmp.Or(c.Ports[i].Protocol, corev1.ProtocolTCP)
	}
	for i := range c.Env {
		if from := c.Env[i].ValueFrom; from != nil {
			defaultFieldRef(from.FieldRef)
			if from.FileKeyRef != nil {
				fill(&from.FileKeyRef.Optional, false)
			}
		}
	}
	roundUp(c.Resources.Limits, c.Resources.Requests)
	for _, p := range []*corev1.Probe{c.LivenessProbe, c.ReadinessProbe, c.StartupProbe} {
		if p != nil {
			p.TimeoutSeconds = cmp.Or(p.TimeoutSeconds, 1)
			p.PeriodSeconds = cmp.Or(p.PeriodSeconds, 10)
			p.SuccessThreshold = cmp.Or(p.SuccessThreshold, 1)
			p.FailureThreshold = cmp.Or(p.FailureThreshold, 3)
		}
	}
	for http, grpc := range handlers(c) {
		if http != nil {
			http.Path = cmp.Or(http.Path, "/")
			http.Scheme = cmp.Or(http.Scheme, corev1.URISchemeHTTP)
		}
		if grpc != nil {
			fill(&grpc.Service, "")
		}
	}
}

func defaultFieldRef(ref *corev1.ObjectFieldSelector) {
	if ref != nil {
		ref.APIVersion = cmp.Or(ref.APIVersion, "v1")
	}
}

// imageReference is the form of an image's name: a host and the path of the repository, a tag and a digest; imageID is what
// is no name although it has that form.
var (
	imageReference = regexp.MustCompile(`^((?:(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[a-fA-F0-9:]+\])(?::[0-9]+)?/)?` +
		`[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*)` +
		`(?::(\w[\w.-]{0,127}))?(@[A-Za-z][A-Za-z0-9]*(?:[+._-][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?$`)
	imageID = regexp.MustCompile(`^[a-f0-9]{64}$`)
)

const longestRepository = 255

// pullPolicy is Always for an image that is or means the tag "latest", IfNotPresent for others and for names that are none.
func pullPolicy(image string) corev1.PullPolicy {
	m := imageReference.FindStringSubmatch(image)
	if m == nil || len(m[1]) > longestRepository || imageID.MatchString(image) {
		return corev1.PullIfNotPresent
	}
	if tag, digest := m[2], m[3]; tag == "latest" || tag+digest == "" {
		return corev1.PullAlways
	}
	return corev1.PullIfNotPresent
}

func defaultVolume(v *corev1.Volume) {
	if v.VolumeSource == (corev1.VolumeSource{}) {
		v.EmptyDir = &corev1.EmptyDirVolumeSource{}
	}
	if v.HostPath != nil {
		fill(&v.HostPath.Type, corev1.HostPathUnset)
	}
	if v.Secret != nil {
		fill(&v.Secret.DefaultMode, corev1.SecretVolumeSourceDefaultMode)
	}
	if v.ConfigMap != nil {
		fill(&v.ConfigMap.DefaultMode, corev1.ConfigMapVolumeSourceDefaultMode)
	}
	if v.DownwardAPI != nil {
		fill(&v.DownwardAPI.DefaultMode, corev1.DownwardAPIVolumeSourceDefaultMode)
		defaultFiles(v.DownwardAPI.Items)
	}
	if v.Projected != nil {
		defaultProjected(v.Projected)
	}
	if v.Image != nil {
		v.Image.PullPolicy = cmp.Or(v.Image.PullPolicy, pullPolicy(v.Image.Reference))
	}
	if v.Ephemeral != nil && v.Ephemeral.VolumeClaimTemplate != nil {
		claim := &v.Ephemeral.VolumeClaimTemplate.Spec
		fill(&claim.VolumeMode, corev1.PersistentVolumeFilesystem)
		roundUp(claim.Resources.Limits, claim.Resources.Requests)
	}
	defaultVendorVolume(v)
}

// defaultVendorVolume fills in sources that only name what a vendor's driver mounts.
func defaultVendorVolume(v *corev1.Volume) {
	if v.ISCSI != nil {
		v.ISCSI.ISCSIInterface = cmp.Or(v.ISCSI.ISCSIInterface, "default")
	}
	if v.RBD != nil {
		v.RBD.RBDPool = cmp.Or(v.RBD.RBDPool, "rbd")
		v.RBD.RadosUser = cmp.Or(v.RBD.RadosUser, "admin")
		v.RBD.Keyring = cmp.Or(v.RBD.Keyring, "/etc/ceph/keyring")
	}
	if v.AzureDisk != nil {
		fill(&v.AzureDisk.CachingMode, corev1.AzureDataDiskCachingReadWrite)
		fill(&v.AzureDisk.FSType, "ext4")
		fill(&v.AzureDisk.ReadOnly, false)
		fill(&v.AzureDisk.Kind, corev1.AzureSharedBlobDisk)
	}
	if v.ScaleIO != nil {
		v.ScaleIO.StorageMode = cmp.Or(v.ScaleIO.StorageMode, "ThinProvisioned")
		v.ScaleIO.FSType = cmp.Or(v.ScaleIO.FSType, "xfs")
	}
}

func defaultProjected(p *corev1.ProjectedVolumeSource) {
	fill(&p.DefaultMode, corev1.ProjectedVolumeSourceDefaultMode)
	for i := range p.Sources {
		s := &p.Sources[i]
		if s.DownwardAPI != nil {
			defaultFiles(s.DownwardAPI.Items)
		}
		if s.ServiceAccountToken != nil {
			fill(&s.ServiceAccountToken.ExpirationSeconds, 3600)
		}
	}
}

func defaultFiles(files []corev1.DownwardAPIVolumeFile) {
	for i := range files {
		defaultFieldRef(files[i].FieldRef)
	}
}
