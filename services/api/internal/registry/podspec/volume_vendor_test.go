package podspec

import "testing"

func TestVendorVolumeRules(t *testing.T) {
	ruleTable{
		{name: "disks", spec: "volumes: [{name: a, gcePersistentDisk: {pdName: '', partition: 256}}, {name: b, awsElasticBlockStore: {volumeID: '', partition: -1}}, {name: c, vsphereVolume: {volumePath: ''}}, {name: d, photonPersistentDisk: {pdID: ''}}, {name: e, portworxVolume: {volumeID: ''}}]", want: []string{
			"spec.volumes[0].persistentDisk.pdName: Required value",
			"spec.volumes[0].persistentDisk.partition: Invalid value: 256: must be between 1 and 255, inclusive",
			"spec.volumes[1].awsElasticBlockStore.volumeID: Required value",
			"spec.volumes[1].awsElasticBlockStore.partition: Invalid value: -1: must be between 1 and 255, inclusive",
			"spec.volumes[2].vsphereVolume.volumePath: Required value",
			"spec.volumes[3].photonPersistentDisk.pdID: Required value",
			"spec.volumes[4].portworxVolume.volumeID: Required value",
		}},
		{name: "file systems", spec: "volumes: [{name: a, nfs: {server: '', path: ''}}, {name: b, glusterfs: {endpoints: '', path: ''}}, {name: c, cephfs: {monitors: []}}, {name: d, rbd: {monitors: [], image: ''}}, {name: e, cinder: {volumeID: '', secretRef: {}}}, {name: f, flocker: {}}, {name: g, flocker: {datasetName: a/b, datasetUUID: u}}, {name: h, azureFile: {secretName: '', shareName: ''}}]", want: []string{
			"spec.volumes[0].nfs.server: Required value",
			"spec.volumes[0].nfs.path: Required value",
			`spec.volumes[0].nfs.path: Invalid value: "": must be an absolute path`,
			"spec.volumes[1].glusterfs.endpoints: Required value",
			"spec.volumes[1].glusterfs.path: Required value",
			"spec.volumes[2].cephfs.monitors: Required value",
			"spec.volumes[3].rbd.monitors: Required value",
			"spec.volumes[3].rbd.image: Required value",
			"spec.volumes[4].cinder.volumeID: Required value",
			"spec.volumes[4].cinder.secretRef.name: Required value",
			"spec.volumes[5].flocker: Required value: one of datasetName and datasetUUID is required",
			`spec.volumes[6].flocker: Invalid value: "resource": datasetName and datasetUUID can not be specified simultaneously`,
			`spec.volumes[6].flocker.datasetName: Invalid value: "a/b": must not contain '/'`,
			"spec.volumes[7].azureFile.secretName: Required value",
			"spec.volumes[7].azureFile.shareName: Required value",
		}},
		{name: "iscsi", spec: "volumes: [{name: a, iscsi: {targetPortal: '', iqn: '', lun: 256, chapAuthDiscovery: true}}, {name: b, iscsi: {targetPortal: p, iqn: foo, lun: 0, initiatorName: bar}}, {name: c, iscsi: {targetPortal: p, iqn: iqn.x, lun: 0, initiatorName: eui.x}}, {name: d, iscsi: {targetPortal: pppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppp, iqn: naa.x, lun: 0, initiatorName: iqn.x}}]", want: []string{
			"spec.volumes[0].iscsi.targetPortal: Required value",
			"spec.volumes[0].iscsi.iqn: Required value",
			"spec.volumes[0].iscsi.lun: Invalid value: 256: must be between 0 and 255, inclusive",
			"spec.volumes[0].iscsi.secretRef: Required value",
			`spec.volumes[1].iscsi.iqn: Invalid value: "foo": must be valid format starting with iqn, eui, or naa`,
			`spec.volumes[1].iscsi.initiatorname: Invalid value: "bar": must be valid format starting with iqn, eui, or naa`,
			`spec.volumes[2].iscsi.iqn: Invalid value: "iqn.x": must be valid format`,
			`spec.volumes[2].iscsi.initiatorname: Invalid value: "eui.x": must be valid format`,
			`spec.volumes[3].iscsi.iqn: Invalid value: "naa.x": must be valid format`,
			`spec.volumes[3].iscsi.initiatorname: Invalid value: "iqn.x": must be valid format`,
			`spec.volumes[3].name: Invalid value: "d": Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.`,
		}},
		{name: "fibre channel", spec: "volumes: [{name: a, fc: {}}, {name: b, fc: {targetWWNs: [a], wwids: [b]}}, {name: c, fc: {targetWWNs: [a], lun: 256}}]", want: []string{
			"spec.volumes[0].fc.targetWWNs: Required value: must specify either targetWWNs or wwids, but not both",
			`spec.volumes[1].fc.targetWWNs: Invalid value: ["a"]: targetWWNs and wwids can not be specified simultaneously`,
			"spec.volumes[1].fc.lun: Required value: lun is required if targetWWNs is specified",
			"spec.volumes[2].fc.lun: Invalid value: 256: must be between 0 and 255, inclusive",
		}},
		{name: "quobyte", spec: "volumes: [{name: a, quobyte: {registry: '', volume: ''}}, {name: b, quobyte: {registry: 'a,b:1', volume: v}}, {name: c, quobyte: {registry: 'a:1', volume: v, tenant: ttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttt}}]", want: []string{
			"spec.volumes[0].quobyte.registry: Required value: must be a host:port pair or multiple pairs separated by commas",
			"spec.volumes[0].quobyte.volume: Required value",
			`spec.volumes[1].quobyte.registry: Invalid value: "a,b:1": must be a host:port pair or multiple pairs separated by commas`,
			"spec.volumes[2].quobyte.tenant: Required value: must be a UUID and may not exceed a length of 64 characters",
		}},
		{name: "azure disk", spec: "volumes: [{name: a, azureDisk: {diskName: '', diskURI: ''}}, {name: b, azureDisk: {diskName: d, diskURI: u, kind: Managed, cachingMode: Some}}, {name: c, azureDisk: {diskName: d, diskURI: 'https://x', kind: Some}}]", want: []string{
			"spec.volumes[0].azureDisk.diskName: Required value",
			"spec.volumes[0].azureDisk.diskURI: Required value",
			`spec.volumes[0].azureDisk.diskURI: Unsupported value: "": supported values: "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"`,
			`spec.volumes[1].azureDisk.cachingMode: Unsupported value: "Some": supported values: "None", "ReadOnly", "ReadWrite"`,
			`spec.volumes[1].azureDisk.diskURI: Unsupported value: "u": supported values: "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"`,
			`spec.volumes[2].azureDisk.kind: Unsupported value: "Some": supported values: "Dedicated", "Managed", "Shared"`,
		}},
		{name: "others", spec: "volumes: [{name: a, flexVolume: {driver: '', options: {kubernetes.io/a: b, x.K8S.io: c, ok/a: b}}}, {name: b, storageos: {}}, {name: c, storageos: {volumeName: A_, volumeNamespace: B_, secretRef: {}}}, {name: d, scaleIO: {gateway: '', system: '', volumeName: '', secretRef: {name: a}}}]", want: []string{
			"spec.volumes[0].flexVolume.driver: Required value",
			`spec.volumes[0].flexVolume.options[kubernetes.io/a]: Invalid value: "kubernetes.io/a": kubernetes.io and k8s.io namespaces are reserved`,
			`spec.volumes[0].flexVolume.options[x.K8S.io]: Invalid value: "x.K8S.io": kubernetes.io and k8s.io namespaces are reserved`,
			"spec.volumes[1].storageos.volumeName: Required value",
			`spec.volumes[2].storageos.volumeName: Invalid value: "A_": ` + badLabel,
			`spec.volumes[2].storageos.volumeNamespace: Invalid value: "B_": ` + badLabel,
			"spec.volumes[2].storageos.secretRef.name: Required value",
			"spec.volumes[3].scaleIO.gateway: Required value",
			"spec.volumes[3].scaleIO.system: Required value",
			"spec.volumes[3].scaleIO.volumeName: Required value",
		}},
	}.run(t)
}
