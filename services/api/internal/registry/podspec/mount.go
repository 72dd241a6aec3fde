package podspec

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"

	"millrace.dev/services/api/internal/registry/check"
)

// checkMounts checks where volumes appear in the files of a container. Some faults stand at the list and not at its
// element, as Kubernetes has it.
func (s *subject) checkMounts(at check.At, c *corev1.Container) {
	deviceNames, devicePaths := sets.New[string](), sets.New[string]()
	for _, d := range c.VolumeDevices {
		deviceNames.Insert(d.Name)
		devicePaths.Insert(d.DevicePath)
	}
	paths := sets.New[string]()
	for i := range c.VolumeMounts {
		m, place := &c.VolumeMounts[i], at.Index(i)
		name, path := place.Child("name"), place.Child("mountPath")
		name.NotEmpty(m.Name)
		if s.volumes[m.Name] == nil {
			name.NotFound(m.Name)
		}
		path.NotEmpty(m.MountPath)
		if paths.Has(m.MountPath) {
			path.Invalid(m.MountPath, "must be unique")
		}
		paths.Insert(m.MountPath)
		if deviceNames.Has(m.Name) {
			name.Invalid(m.Name, "must not already exist in volumeDevices")
		}
		if devicePaths.Has(m.MountPath) {
			path.Invalid(m.MountPath, "must not already exist as a path in volumeDevices")
		}
		checkSubPath(at, place, m)
		checkPropagation(at, m, c)
	}
}

func checkSubPath(list, at check.At, m *corev1.VolumeMount) {
	if m.SubPath != "" {
		list.Child("subPath").Descending(m.SubPath)
	}
	if m.SubPathExpr == "" {
		return
	}
	if m.SubPath != "" {
		at.Child("subPathExpr").Invalid(m.SubPathExpr, "subPathExpr and subPath are mutually exclusive")
	}
	list.Child("subPathExpr").Descending(m.SubPathExpr)
}

func checkPropagation(list check.At, m *corev1.VolumeMount, c *corev1.Container) {
	if m.MountPropagation != nil {
		at := list.Child("mountPropagation")
		check.OneOf(at, *m.MountPropagation,
			corev1.MountPropagationBidirectional, corev1.MountPropagationHostToContainer, corev1.MountPropagationNone)
		if *m.MountPropagation == corev1.MountPropagationBidirectional && !privileged(c.SecurityContext) {
			at.Forbidden("Bidirectional mount propagation is available only to privileged containers")
		}
	}
	if m.RecursiveReadOnly == nil || *m.RecursiveReadOnly == corev1.RecursiveReadOnlyDisabled {
		return
	}
	at := list.Child("recursiveReadOnly")
	if *m.RecursiveReadOnly != corev1.RecursiveReadOnlyEnabled && *m.RecursiveReadOnly != corev1.RecursiveReadOnlyIfPossible {
		check.OneOf(at, *m.RecursiveReadOnly,
			corev1.RecursiveReadOnlyDisabled, corev1.RecursiveReadOnlyEnabled, corev1.RecursiveReadOnlyIfPossible)
		return
	}
	if !m.ReadOnly {
		at.Forbidden("may only be specified when readOnly is true")
	}
	if m.MountPropagation != nil && *m.MountPropagation != corev1.MountPropagationNone {
		at.Forbidden("may only be specified when mountPropagation is None or not specified")
	}
}

// checkDevices checks the volumes that a container gets as block devices.
func (s *subject) checkDevices(at check.At, c *corev1.Container) {
	mountNames, mountPaths := sets.New[string](), sets.New[string]()
	for _, m := range c.VolumeMounts {
		mountNames.Insert(m.Name)
		mountPaths.Insert(m.MountPath)
	}
	names, paths := sets.New[string](), sets.New[string]()
	for i, d := range c.VolumeDevices {
		name, path := at.Index(i).Child("name"), at.Index(i).Child("devicePath")
		name.NotEmpty(d.Name)
		if d.Name != "" && names.Has(d.Name) {
			name.Invalid(d.Name, "must be unique")
		}
		switch v := s.volumes[d.Name]; {
		case v == nil:
			name.NotFound(d.Name)
		case v.PersistentVolumeClaim == nil && v.Ephemeral == nil:
			name.Invalid(d.Name, "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode")
		}
		checkDevicePath(path, d.DevicePath, paths)
		if mountNames.Has(d.Name) {
			name.Invalid(d.Name, "must not already exist in volumeMounts")
		}
		if mountPaths.Has(d.DevicePath) {
			path.Invalid(d.DevicePath, "must not already exist as a path in volumeMounts")
		}
		names.Insert(d.Name)
	}
}

func checkDevicePath(at check.At, path string, taken sets.Set[string]) {
	at.NotEmpty(path)
	if taken.Has(path) {
		at.Invalid(path, "must be unique")
	}
	climbs := check.Start()
	if climbs.NoBacksteps(path); len(climbs.Faults()) > 0 {
		at.Invalid(path, "can not contain backsteps ('..')")
		return
	}
	taken.Insert(path)
}
