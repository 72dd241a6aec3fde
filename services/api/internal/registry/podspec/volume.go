package podspec

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"

	"millrace.dev/services/api/internal/registry/check"
)

// volumeSource is one row of the list of what a volume can be made of.
type volumeSource struct {
	field string // where it is refused beside another source
	as    string // where its own faults stand
	has   func(*corev1.VolumeSource) bool
	check func(check.At, *corev1.VolumeSource)
}

// source makes a row for a source that pick finds and rule checks.
func source[T any](field string, pick func(*corev1.VolumeSource) *T, rule func(check.At, *T)) volumeSource {
	return volumeSource{
		field: field, as: field,
		has:   func(v *corev1.VolumeSource) bool { return pick(v) != nil },
		check: func(at check.At, v *corev1.VolumeSource) { rule(at, pick(v)) },
	}
}

// under names another place for the faults of a source, or for its refusal, where Kubernetes' own differ.
func (s volumeSource) under(field, as string) volumeSource {
	s.field, s.as = field, as
	return s
}

// volumeSources lists what a volume can be made of, in the order in which a second one is noticed.
var volumeSources = []volumeSource{
	source("emptyDir", func(v *corev1.VolumeSource) *corev1.EmptyDirVolumeSource { return v.EmptyDir }, checkEmptyDir),
	source("hostPath", func(v *corev1.VolumeSource) *corev1.HostPathVolumeSource { return v.HostPath }, checkHostPath),
	source("gitRepo", func(v *corev1.VolumeSource) *corev1.GitRepoVolumeSource { return v.GitRepo }, checkGitRepo),
	source("gcePersistentDisk", func(v *corev1.VolumeSource) *corev1.GCEPersistentDiskVolumeSource { return v.GCEPersistentDisk }, checkGCEDisk).under("gcePersistentDisk", "persistentDisk"),
	source("awsElasticBlockStore", func(v *corev1.VolumeSource) *corev1.AWSElasticBlockStoreVolumeSource { return v.AWSElasticBlockStore }, checkAWSDisk),
	source("secret", func(v *corev1.VolumeSource) *corev1.SecretVolumeSource { return v.Secret }, checkSecretVolume),
	source("nfs", func(v *corev1.VolumeSource) *corev1.NFSVolumeSource { return v.NFS }, checkNFS),
	source("iscsi", func(v *corev1.VolumeSource) *corev1.ISCSIVolumeSource { return v.ISCSI }, checkISCSI),
	source("glusterfs", func(v *corev1.VolumeSource) *corev1.GlusterfsVolumeSource { return v.Glusterfs }, checkGlusterfs),
	source("flocker", func(v *corev1.VolumeSource) *corev1.FlockerVolumeSource { return v.Flocker }, checkFlocker),
	source("persistentVolumeClaim", func(v *corev1.VolumeSource) *corev1.PersistentVolumeClaimVolumeSource { return v.PersistentVolumeClaim }, func(at check.At, c *corev1.PersistentVolumeClaimVolumeSource) {
		at.Child("claimName").NotEmpty(c.ClaimName)
	}),
	source("rbd", func(v *corev1.VolumeSource) *corev1.RBDVolumeSource { return v.RBD }, checkRBD),
	source("cinder", func(v *corev1.VolumeSource) *corev1.CinderVolumeSource { return v.Cinder }, checkCinder),
	source("cephFS", func(v *corev1.VolumeSource) *corev1.CephFSVolumeSource { return v.CephFS }, checkCephFS).under("cephFS", "cephfs"),
	source("quobyte", func(v *corev1.VolumeSource) *corev1.QuobyteVolumeSource { return v.Quobyte }, checkQuobyte),
	source("downwardAPI", func(v *corev1.VolumeSource) *corev1.DownwardAPIVolumeSource { return v.DownwardAPI }, checkDownwardAPI).under("downwarAPI", "downwardAPI"), // sic
	source("fc", func(v *corev1.VolumeSource) *corev1.FCVolumeSource { return v.FC }, checkFC),
	source("flexVolume", func(v *corev1.VolumeSource) *corev1.FlexVolumeSource { return v.FlexVolume }, checkFlexVolume),
	source("configMap", func(v *corev1.VolumeSource) *corev1.ConfigMapVolumeSource { return v.ConfigMap }, checkConfigMapVolume),
	source("azureFile", func(v *corev1.VolumeSource) *corev1.AzureFileVolumeSource { return v.AzureFile }, checkAzureFile),
	source("vsphereVolume", func(v *corev1.VolumeSource) *corev1.VsphereVirtualDiskVolumeSource { return v.VsphereVolume }, func(at check.At, d *corev1.VsphereVirtualDiskVolumeSource) {
		at.Child("volumePath").NotEmpty(d.VolumePath)
	}),
	source("photonPersistentDisk", func(v *corev1.VolumeSource) *corev1.PhotonPersistentDiskVolumeSource { return v.PhotonPersistentDisk }, func(at check.At, d *corev1.PhotonPersistentDiskVolumeSource) { at.Child("pdID").NotEmpty(d.PdID) }),
	source("portworxVolume", func(v *corev1.VolumeSource) *corev1.PortworxVolumeSource { return v.PortworxVolume }, func(at check.At, p *corev1.PortworxVolumeSource) { at.Child("volumeID").NotEmpty(p.VolumeID) }),
	source("azureDisk", func(v *corev1.VolumeSource) *corev1.AzureDiskVolumeSource { return v.AzureDisk }, checkAzureDisk),
	source("storageos", func(v *corev1.VolumeSource) *corev1.StorageOSVolumeSource { return v.StorageOS }, checkStorageOS),
	source("projected", func(v *corev1.VolumeSource) *corev1.ProjectedVolumeSource { return v.Projected }, checkProjected),
	source("scaleIO", func(v *corev1.VolumeSource) *corev1.ScaleIOVolumeSource { return v.ScaleIO }, checkScaleIO),
	source("csi", func(v *corev1.VolumeSource) *corev1.CSIVolumeSource { return v.CSI }, checkCSI),
	source("ephemeral", func(v *corev1.VolumeSource) *corev1.EphemeralVolumeSource { return v.Ephemeral }, checkEphemeralVolume),
	source("image", func(v *corev1.VolumeSource) *corev1.ImageVolumeSource { return v.Image }, checkImageVolume),
}

// checkVolumes checks the volumes and notes those without fault, to which containers may refer.
func (s *subject) checkVolumes(at check.At) {
	s.volumes = make(map[string]*corev1.Volume, len(s.Volumes))
	for i := range s.Volumes {
		v, at := &s.Volumes[i], at.Index(i)
		own := check.Start()
		s.checkVolume(own.On(at), v)
		if len(own.Faults()) == 0 {
			s.volumes[v.Name] = v
		}
		at.Add(own.Faults()...)
		if c := v.PersistentVolumeClaim; c != nil && s.makesClaim(c.ClaimName) {
			at.Child("persistentVolumeClaim", "claimName").Invalid(c.ClaimName, "must not reference a PVC that gets created for an ephemeral volume")
		}
	}
}

// makesClaim says that the pod brings the claim with it, for one of its ephemeral volumes.
func (s *subject) makesClaim(name string) bool {
	return s.podName != "" && slices.ContainsFunc(s.Volumes, func(v corev1.Volume) bool {
		return v.Ephemeral != nil && name == s.podName+"-"+v.Name
	})
}

func (s *subject) checkVolume(at check.At, v *corev1.Volume) {
	found := ""
	for i := range volumeSources {
		switch row := &volumeSources[i]; {
		case !row.has(&v.VolumeSource):
		case found != "":
			at.Child(row.field).Forbidden("may not specify more than 1 volume type")
		default:
			found = row.field
			row.check(at.Child(row.as), &v.VolumeSource)
		}
	}
	name := at.Child("name")
	if v.ISCSI != nil && v.ISCSI.InitiatorName != nil && len(v.Name)+1+len(v.ISCSI.TargetPortal) > 64 {
		name.Invalid(v.Name, "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.")
	}
	if claim := s.podName + "-" + v.Name; found == "ephemeral" && s.podName != "" && v.Name != "" {
		for _, complaint := range validation.IsDNS1123Subdomain(claim) {
			name.Invalid(v.Name, fmt.Sprintf("PVC name %q: %v", claim, complaint))
		}
	}
	if found == "" {
		at.Required("must specify a volume type")
	}
	if name.NotEmpty(v.Name) {
		name.DNSLabel(v.Name)
	}
	if s.volumes[v.Name] != nil {
		name.Duplicate(v.Name)
	}
}

func checkEmptyDir(at check.At, d *corev1.EmptyDirVolumeSource) {
	if d.SizeLimit != nil && d.SizeLimit.Sign() < 0 {
		at.Child("sizeLimit").Forbidden("SizeLimit field must be a valid resource quantity")
	}
}

func checkHostPath(at check.At, p *corev1.HostPathVolumeSource) {
	if !at.Child("path").NotEmpty(p.Path) {
		return
	}
	at.Child("path").NoBacksteps(p.Path)
	if p.Type != nil {
		check.OneOf(at.Child("type"), *p.Type, corev1.HostPathUnset, corev1.HostPathBlockDev, corev1.HostPathCharDev,
			corev1.HostPathDirectory, corev1.HostPathDirectoryOrCreate, corev1.HostPathFile, corev1.HostPathFileOrCreate, corev1.HostPathSocket)
	}
}

func checkGitRepo(at check.At, r *corev1.GitRepoVolumeSource) {
	at.Child("repository").NotEmpty(r.Repository)
	at.Child("directory").Descending(r.Directory)
}

func checkSecretVolume(at check.At, v *corev1.SecretVolumeSource) {
	at.Child("secretName").NotEmpty(v.SecretName)
	at.Child("defaultMode").FileMode(v.DefaultMode)
	checkItems(at.Child("items"), v.Items)
}

func checkConfigMapVolume(at check.At, v *corev1.ConfigMapVolumeSource) {
	at.Child("name").NotEmpty(v.Name)
	at.Child("defaultMode").FileMode(v.DefaultMode)
	checkItems(at.Child("items"), v.Items)
}

func checkItems(at check.At, items []corev1.KeyToPath) {
	for i := range items {
		checkItem(at.Index(i), &items[i])
	}
}

func checkItem(at check.At, item *corev1.KeyToPath) {
	at.Child("key").NotEmpty(item.Key)
	at.Child("path").NotEmpty(item.Path)
	at.Child("path").FileInVolume(item.Path)
	at.Child("mode").FileMode(item.Mode)
}

func checkDownwardAPI(at check.At, v *corev1.DownwardAPIVolumeSource) {
	at.Child("defaultMode").FileMode(v.DefaultMode)
	for i := range v.Items {
		checkFile(at, &v.Items[i]) // not at the item, as Kubernetes has it
	}
}

func checkFile(at check.At, f *corev1.DownwardAPIVolumeFile) {
	at.Child("path").NotEmpty(f.Path)
	at.Child("path").FileInVolume(f.Path)
	switch {
	case f.FieldRef != nil:
		checkFieldRef(at.Child("fieldRef"), f.FieldRef, fileFieldPaths)
		if f.ResourceFieldRef != nil {
			at.Invalid("resource", "fieldRef and resourceFieldRef can not be specified simultaneously")
		}
	case f.ResourceFieldRef == nil:
		at.Required("one of fieldRef and resourceFieldRef is required")
	default:
		at, ref := at.Child("resourceFieldRef"), f.ResourceFieldRef
		if at.Child("containerName").NotEmpty(ref.ContainerName) {
			checkResourceRef(at, ref)
		} else {
			checkUnit(at.Child("divisor"), ref, findFigure(ref.Resource))
		}
	}
	at.Child("mode").FileMode(f.Mode)
}

func checkImageVolume(at check.At, v *corev1.ImageVolumeSource) {
	at.Child("reference").NotEmpty(v.Reference)
	checkPullPolicy(at.Child("pullPolicy"), v.PullPolicy)
}

// forbidTokens refuses service account tokens in a pod that has no service account.
func (s *subject) forbidTokens(at check.At) {
	for i := range s.Volumes {
		p := s.Volumes[i].Projected
		if p == nil {
			continue
		}
		for j := range p.Sources {
			if p.Sources[j].ServiceAccountToken != nil {
				at.Index(i).Child("projected", "sources").Index(j).Child("serviceAccountToken").Forbidden("must not be specified when serviceAccountName is not set")
			}
		}
	}
}

// files notes the paths that a volume of several sources puts into its directory.
type files struct {
	at    check.At
	taken sets.Set[string]
}

// put notes path; the fault names owner.
func (f files) put(path, owner string) {
	if f.taken.Has(path) {
		f.at.Invalid(owner, "conflicting duplicate paths")
	}
	f.taken.Insert(path)
}
