package describe

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

func tellVolumes(w *writer, volumes []corev1.Volume) {
	if len(volumes) == 0 {
		w.field(0, "Volumes", none)
		return
	}
	w.line(0, "Volumes:")
	for i := range volumes {
		w.line(1, "%s:", volumes[i].Name)
		tellVolume(w, &volumes[i].VolumeSource)
	}
}

// tellVolume writes where the contents of a volume come from.
func tellVolume(w *writer, v *corev1.VolumeSource) {
	switch {
	case v.HostPath != nil:
		typ := none
		if v.HostPath.Type != nil {
			typ = string(*v.HostPath.Type)
		}
		tellSource(w, "HostPath (bare host directory volume)", "Path", v.HostPath.Path, "HostPathType", typ)
	case v.EmptyDir != nil:
		limit := "<unset>"
		if v.EmptyDir.SizeLimit != nil && v.EmptyDir.SizeLimit.Sign() > 0 {
			limit = v.EmptyDir.SizeLimit.String()
		}
		tellSource(w, "EmptyDir (a temporary directory that shares a pod's lifetime)", "Medium", v.EmptyDir.Medium, "SizeLimit", limit)
	case v.Secret != nil:
		tellSource(w, "Secret (a volume populated by a Secret)", "SecretName", v.Secret.SecretName, "Optional", isTrue(v.Secret.Optional))
	case v.ConfigMap != nil:
		tellSource(w, "ConfigMap (a volume populated by a ConfigMap)", "Name", v.ConfigMap.Name, "Optional", isTrue(v.ConfigMap.Optional))
	case v.Projected != nil:
		tellProjected(w, v.Projected)
	case v.DownwardAPI != nil:
		tellSource(w, "DownwardAPI (a volume populated by information about the pod)")
		w.line(2, "Items:")
		tellItems(w, v.DownwardAPI.Items)
	case v.PersistentVolumeClaim != nil:
		tellSource(w, "PersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)",
			"ClaimName", v.PersistentVolumeClaim.ClaimName, "ReadOnly", v.PersistentVolumeClaim.ReadOnly)
	case v.Ephemeral != nil:
		tellEphemeral(w, v.Ephemeral)
	case v.NFS != nil:
		tellSource(w, "NFS (an NFS mount that lasts the lifetime of a pod)", "Server", v.NFS.Server, "Path", v.NFS.Path, "ReadOnly", v.NFS.ReadOnly)
	case v.CSI != nil:
		fsType := ""
		if v.CSI.FSType != nil {
			fsType = *v.CSI.FSType
		}
		tellSource(w, "CSI (a Container Storage Interface (CSI) volume source)", "Driver", v.CSI.Driver, "FSType", fsType, "ReadOnly", isTrue(v.CSI.ReadOnly))
		w.pairs(2, "VolumeAttributes", v.CSI.VolumeAttributes)
	case v.Image != nil:
		tellSource(w, "Image (a container image or OCI artifact)", "Reference", v.Image.Reference, "PullPolicy", v.Image.PullPolicy)
	default:
		w.line(1, "<unknown>")
	}
}

// tellSource writes a type and pairs of names and values.
func tellSource(w *writer, typ string, pairs ...any) {
	w.field(2, "Type", typ)
	for i := 0; i < len(pairs); i += 2 {
		w.field(2, fmt.Sprint(pairs[i]), pairs[i+1])
	}
}

func tellItems(w *writer, items []corev1.DownwardAPIVolumeFile) {
	for _, item := range items {
		if item.FieldRef != nil {
			w.line(3, "%v -> %v", item.FieldRef.FieldPath, item.Path)
		}
		if item.ResourceFieldRef != nil {
			w.line(3, "%v -> %v", item.ResourceFieldRef.Resource, item.Path)
		}
	}
}

func tellProjected(w *writer, v *corev1.ProjectedVolumeSource) {
	tellSource(w, "Projected (a volume that contains injected data from multiple sources)")
	for _, source := range v.Sources {
		switch {
		case source.Secret != nil:
			w.field(2, "SecretName", source.Secret.Name)
			w.field(2, "Optional", isTrue(source.Secret.Optional))
		case source.DownwardAPI != nil:
			w.field(2, "DownwardAPI", true)
		case source.ConfigMap != nil:
			w.field(2, "ConfigMapName", source.ConfigMap.Name)
			w.field(2, "Optional", isTrue(source.ConfigMap.Optional))
		case source.ServiceAccountToken != nil && source.ServiceAccountToken.ExpirationSeconds != nil:
			w.field(2, "TokenExpirationSeconds", *source.ServiceAccountToken.ExpirationSeconds)
		}
	}
}

func tellEphemeral(w *writer, v *corev1.EphemeralVolumeSource) {
	tellSource(w, "EphemeralVolume (an inline specification for a volume that gets created and deleted with the pod)")
	claim := v.VolumeClaimTemplate
	if claim == nil {
		return
	}
	class := ""
	if claim.Spec.StorageClassName != nil {
		class = *claim.Spec.StorageClassName
	}
	w.field(2, "StorageClass", class)
	w.field(2, "Volume", claim.Spec.VolumeName)
	w.pairs(2, "Labels", claim.Labels)
	w.pairs(2, "Annotations", claim.Annotations)
	capacity := ""
	if amount, ok := claim.Spec.Resources.Requests[corev1.ResourceStorage]; ok {
		capacity = amount.String()
	}
	w.field(2, "Capacity", capacity)
	w.field(2, "Access Modes", accessModes(claim.Spec.AccessModes))
	if claim.Spec.VolumeMode != nil {
		w.field(2, "VolumeMode", *claim.Spec.VolumeMode)
	}
}

// accessModes are the modes in their short forms.
func accessModes(modes []corev1.PersistentVolumeAccessMode) string {
	short := map[corev1.PersistentVolumeAccessMode]string{
		corev1.ReadWriteOnce: "RWO", corev1.ReadOnlyMany: "ROX", corev1.ReadWriteMany: "RWX", corev1.ReadWriteOncePod: "RWOP",
	}
	var texts []string
	for _, mode := range modes {
		texts = append(texts, short[mode])
	}
	return strings.Join(texts, ",")
}
