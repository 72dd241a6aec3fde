package podspec

import (
	"net"
	"path"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"millrace.dev/services/api/internal/registry/check"
)

// This file checks sources that a network or a vendor's driver serves. Whether this cluster can mount them is another matter.

func checkNFS(at check.At, v *corev1.NFSVolumeSource) {
	at.Child("server").NotEmpty(v.Server)
	at.Child("path").NotEmpty(v.Path)
	if !path.IsAbs(v.Path) {
		at.Child("path").Invalid(v.Path, "must be an absolute path")
	}
}

// iscsiNames are the three forms in which iSCSI names its ends, by their prefix.
var iscsiNames = []struct {
	prefix string
	form   *regexp.Regexp
}{
	{"iqn", regexp.MustCompile(`iqn\.\d{4}-\d{2}\.([[:alnum:]-.]+)(:[^,;*&$|\s]+)$`)},
	{"eui", regexp.MustCompile(`^eui.[[:alnum:]]{16}$`)},
	{"naa", regexp.MustCompile(`^naa.[[:alnum:]]{32}$`)},
}

func checkISCSIName(at check.At, name string) {
	for _, n := range iscsiNames {
		if strings.HasPrefix(name, n.prefix) {
			if !n.form.MatchString(name) {
				at.Invalid(name, "must be valid format")
			}
			return
		}
	}
	at.Invalid(name, "must be valid format starting with iqn, eui, or naa")
}

func checkISCSI(at check.At, v *corev1.ISCSIVolumeSource) {
	at.Child("targetPortal").NotEmpty(v.TargetPortal)
	if at.Child("iqn").NotEmpty(v.IQN) {
		checkISCSIName(at.Child("iqn"), v.IQN)
	}
	checkLun(at.Child("lun"), v.Lun)
	if (v.DiscoveryCHAPAuth || v.SessionCHAPAuth) && v.SecretRef == nil {
		at.Child("secretRef").Required("")
	}
	if v.InitiatorName != nil {
		checkISCSIName(at.Child("initiatorname"), *v.InitiatorName)
	}
}

func checkLun(at check.At, lun int32) {
	if lun < 0 || lun > 255 {
		at.Invalid(lun, validation.InclusiveRangeError(0, 255))
	}
}

func checkFC(at check.At, v *corev1.FCVolumeSource) {
	names := at.Child("targetWWNs")
	switch byName, byID := len(v.TargetWWNs) > 0, len(v.WWIDs) > 0; {
	case !byName && !byID:
		names.Required("must specify either targetWWNs or wwids, but not both")
	case byName && byID:
		names.Invalid(v.TargetWWNs, "targetWWNs and wwids can not be specified simultaneously")
	}
	switch lun := at.Child("lun"); {
	case len(v.TargetWWNs) == 0:
	case v.Lun == nil:
		lun.Required("lun is required if targetWWNs is specified")
	default:
		checkLun(lun, *v.Lun)
	}
}

func checkPartition(at check.At, n int32) {
	if n < 0 || n > 255 {
		at.Invalid(n, validation.InclusiveRangeError(1, 255))
	}
}

func checkGCEDisk(at check.At, v *corev1.GCEPersistentDiskVolumeSource) {
	at.Child("pdName").NotEmpty(v.PDName)
	checkPartition(at.Child("partition"), v.Partition)
}

func checkAWSDisk(at check.At, v *corev1.AWSElasticBlockStoreVolumeSource) {
	at.Child("volumeID").NotEmpty(v.VolumeID)
	checkPartition(at.Child("partition"), v.Partition)
}

func checkGlusterfs(at check.At, v *corev1.GlusterfsVolumeSource) {
	at.Child("endpoints").NotEmpty(v.EndpointsName)
	at.Child("path").NotEmpty(v.Path)
}

func checkFlocker(at check.At, v *corev1.FlockerVolumeSource) {
	switch {
	case v.DatasetName == "" && v.DatasetUUID == "":
		at.Required("one of datasetName and datasetUUID is required")
	case v.DatasetName != "" && v.DatasetUUID != "":
		at.Invalid("resource", "datasetName and datasetUUID can not be specified simultaneously")
	}
	if strings.Contains(v.DatasetName, "/") {
		at.Child("datasetName").Invalid(v.DatasetName, "must not contain '/'")
	}
}

func checkRBD(at check.At, v *corev1.RBDVolumeSource) {
	if len(v.CephMonitors) == 0 {
		at.Child("monitors").Required("")
	}
	at.Child("image").NotEmpty(v.RBDImage)
}

func checkCinder(at check.At, v *corev1.CinderVolumeSource) {
	at.Child("volumeID").NotEmpty(v.VolumeID)
	checkSecretRef(at, v.SecretRef)
}

func checkSecretRef(at check.At, ref *corev1.LocalObjectReference) {
	if ref != nil {
		at.Child("secretRef", "name").NotEmpty(ref.Name)
	}
}

func checkCephFS(at check.At, v *corev1.CephFSVolumeSource) {
	if len(v.Monitors) == 0 {
		at.Child("monitors").Required("")
	}
}

func checkQuobyte(at check.At, v *corev1.QuobyteVolumeSource) {
	const form = "must be a host:port pair or multiple pairs separated by commas"
	registry := at.Child("registry")
	switch {
	case v.Registry == "":
		registry.Required(form)
	case len(v.Tenant) >= 65:
		at.Child("tenant").Required("must be a UUID and may not exceed a length of 64 characters")
	default:
		for pair := range strings.SplitSeq(v.Registry, ",") {
			if _, _, err := net.SplitHostPort(pair); err != nil {
				registry.Invalid(v.Registry, form)
			}
		}
	}
	at.Child("volume").NotEmpty(v.Volume)
}

func checkFlexVolume(at check.At, v *corev1.FlexVolumeSource) {
	at.Child("driver").NotEmpty(v.Driver)
	for key := range check.Sorted(v.Options) {
		domain, _, _ := strings.Cut(key, "/")
		domain = "." + strings.ToLower(domain)
		if strings.HasSuffix(domain, ".kubernetes.io") || strings.HasSuffix(domain, ".k8s.io") {
			at.Child("options").Key(key).Invalid(key, "kubernetes.io and k8s.io namespaces are reserved")
		}
	}
}

func checkAzureFile(at check.At, v *corev1.AzureFileVolumeSource) {
	at.Child("secretName").NotEmpty(v.SecretName)
	at.Child("shareName").NotEmpty(v.ShareName)
}

func checkAzureDisk(at check.At, v *corev1.AzureDiskVolumeSource) {
	at.Child("diskName").NotEmpty(v.DiskName)
	at.Child("diskURI").NotEmpty(v.DataDiskURI)
	if v.CachingMode != nil {
		check.OneOf(at.Child("cachingMode"), *v.CachingMode,
			corev1.AzureDataDiskCachingNone, corev1.AzureDataDiskCachingReadOnly, corev1.AzureDataDiskCachingReadWrite)
	}
	if v.Kind == nil {
		return
	}
	check.OneOf(at.Child("kind"), *v.Kind, corev1.AzureDedicatedBlobDisk, corev1.AzureManagedDisk, corev1.AzureSharedBlobDisk)
	prefix, form := "https://", "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"
	if *v.Kind == corev1.AzureManagedDisk {
		prefix, form = "/subscriptions/", "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"
	}
	if !strings.HasPrefix(v.DataDiskURI, prefix) {
		check.NotSupported(at.Child("diskURI"), v.DataDiskURI, form)
	}
}

func checkStorageOS(at check.At, v *corev1.StorageOSVolumeSource) {
	if name := at.Child("volumeName"); name.NotEmpty(v.VolumeName) {
		name.DNSLabel(v.VolumeName)
	}
	at.Child("volumeNamespace").DNSLabelOrEmpty(v.VolumeNamespace)
	checkSecretRef(at, v.SecretRef)
}

func checkScaleIO(at check.At, v *corev1.ScaleIOVolumeSource) {
	at.Child("gateway").NotEmpty(v.Gateway)
	at.Child("system").NotEmpty(v.System)
	at.Child("volumeName").NotEmpty(v.VolumeName)
}

func checkCSI(at check.At, v *corev1.CSIVolumeSource) {
	if driver := at.Child("driver"); driver.NotEmpty(v.Driver) {
		if len(v.Driver) > 63 {
			driver.TooLong(63)
		}
		driver.None(validation.IsDNS1123Subdomain(strings.ToLower(v.Driver)), v.Driver)
	}
	if ref := v.NodePublishSecretRef; ref != nil && at.Child("nodePublishSecretRef", "name").NotEmpty(ref.Name) {
		at.Child("name").Subdomain(ref.Name)
	}
}

func checkEphemeralVolume(at check.At, v *corev1.EphemeralVolumeSource) {
	if at = at.Child("volumeClaimTemplate"); v.VolumeClaimTemplate == nil {
		at.Required("")
		return
	}
	checkTemplateMeta(at.Child("metadata"), &v.VolumeClaimTemplate.ObjectMeta)
	CheckClaimSpec(at.Child("spec"), &v.VolumeClaimTemplate.Spec)
}
