package podspec

import "testing"

func TestVolumeRules(t *testing.T) {
	ruleTable{
		{name: "name is missing", spec: "volumes: [{emptyDir: {}}]", want: []string{
			"spec.volumes[0].name: Required value",
		}},
		{name: "name is no DNS label", spec: "volumes: [{name: V.1, emptyDir: {}}]", want: []string{
			`spec.volumes[0].name: Invalid value: "V.1": ` + badLabel,
		}},
		{name: "names are unique", spec: "volumes: [{name: v, emptyDir: {}}, {name: v, emptyDir: {}}]", want: []string{
			`spec.volumes[1].name: Duplicate value: "v"`,
		}},
		{name: "no source is an empty directory", spec: "volumes: [{name: v}]"},
		{name: "two sources", spec: "volumes: [{name: v, emptyDir: {}, hostPath: {path: /a}}]", want: []string{
			"spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type",
		}},
		{name: "twenty-nine sources", spec: "volumes: [{name: v, emptyDir: {}, hostPath: {path: a}, gitRepo: {repository: a}, gcePersistentDisk: {pdName: a}, awsElasticBlockStore: {volumeID: a}, secret: {secretName: a}, nfs: {server: a, path: a}, iscsi: {targetPortal: a, iqn: a, lun: 0}, glusterfs: {endpoints: a, path: a}, flocker: {}, persistentVolumeClaim: {claimName: a}, rbd: {monitors: [], image: a}, cinder: {volumeID: a}, cephfs: {monitors: []}, quobyte: {registry: a, volume: a}, downwardAPI: {}, fc: {}, flexVolume: {driver: a}, configMap: {name: a}, azureFile: {secretName: a, shareName: a}, vsphereVolume: {volumePath: a}, photonPersistentDisk: {pdID: a}, portworxVolume: {volumeID: a}, azureDisk: {diskName: a, diskURI: a}, storageos: {}, projected: {sources: []}, scaleIO: {gateway: a, system: a, secretRef: {name: a}}, csi: {driver: a}, ephemeral: {}, image: {}}]", want: []string{
			"spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type",
			"spec.volumes[0].gitRepo: Forbidden: may not specify more than 1 volume type",
			"spec.volumes[0].gcePersistentDisk: Forbidden: may not specify more than 1 volume type",
			"spec.volumes[0].awsElasticBlockStore: Forbidden: may not specify more than 1 volume type",
			"spec.volumes[0].secret: Forbidden: may not specify more than 1 volume type",
			"spec.volumes[0].nfs: Forbidden: may not specify more than 1 volume type",
			"spec.volumes[0].iscsi: Forbidden: may not specify more than 1 volume type",
			"spec.volumes[0].glusterfs: Forbidden: may not specify more than 1 volume type",
			"spec.volumes[0].flocker: Forbidden: may not specify more than 1 volume type",
			"spec.volumes[0].persistentVolumeClaim: Forbidden: may not specify more than 1 volume type",
			"spec.volumes[0].rbd: Forbidden: may not specify more than 1 volume type",
			"spec.volumes[0].cinder: Forbidden: may not specify more than 1 volume type",
			"spec.volumes[0].cephFS: Forbidden: may not specify more than 1 volume type",
			"spec.volumes[0].quobyte: Forbidden: may not specify more than 1 volume type",
			"spec.volumes[0].downwarAPI: Forbidden: may not specify more than 1 volume type",
			"spec.volumes[0].fc: Forbidden: may not specify more than 1 volume type",
			"spec.volumes[0].flexVolume: Forbidden: may not specify more than 1 volume type",
			"spec.volumes[0].configMap: Forbidden: may not specify more than 1 volume type",
			"spec.volumes[0].azureFile: Forbidden: may not specify more than 1 volume type",
			"spec.volumes[0].vsphereVolume: Forbidden: may not specify more than 1 volume type",
			"spec.volumes[0].photonPersistentDisk: Forbidden: may not specify more than 1 volume type",
			"spec.volumes[0].portworxVolume: Forbidden: may not specify more than 1 volume type",
			"spec.volumes[0].azureDisk: Forbidden: may not specify more than 1 volume type",
			"spec.volumes[0].storageos: Forbidden: may not specify more than 1 volume type",
			"spec.volumes[0].projected: Forbidden: may not specify more than 1 volume type",
			"spec.volumes[0].scaleIO: Forbidden: may not specify more than 1 volume type",
			"spec.volumes[0].csi: Forbidden: may not specify more than 1 volume type",
			"spec.volumes[0].ephemeral: Forbidden: may not specify more than 1 volume type",
			"spec.volumes[0].image: Forbidden: may not specify more than 1 volume type",
		}},
		{name: "size is negative", spec: "volumes: [{name: v, emptyDir: {sizeLimit: -1}}]", want: []string{
			"spec.volumes[0].emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid resource quantity",
		}},
		{name: "host path", spec: "volumes: [{name: a, hostPath: {path: ''}}, {name: b, hostPath: {path: /a/../b, type: Dir}}]", want: []string{
			"spec.volumes[0].hostPath.path: Required value",
			`spec.volumes[1].hostPath.path: Invalid value: "/a/../b": must not contain '..'`,
			`spec.volumes[1].hostPath.type: Unsupported value: "Dir": supported values: "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"`,
		}},
		{name: "git repository", spec: "volumes: [{name: v, gitRepo: {repository: '', directory: /a/..}}]", want: []string{
			"spec.volumes[0].gitRepo.repository: Required value",
			`spec.volumes[0].gitRepo.directory: Invalid value: "/a/..": must be a relative path`,
			`spec.volumes[0].gitRepo.directory: Invalid value: "/a/..": must not contain '..'`,
		}},
		{name: "secret", spec: "volumes: [{name: v, secret: {defaultMode: 512, items: [{key: '', path: ''}, {key: a, path: /abs, mode: -1}, {key: a, path: ..x}, {key: a, path: ../x}]}}]", want: []string{
			"spec.volumes[0].secret.secretName: Required value",
			"spec.volumes[0].secret.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive",
			"spec.volumes[0].secret.items[0].key: Required value",
			"spec.volumes[0].secret.items[0].path: Required value",
			`spec.volumes[0].secret.items[1].path: Invalid value: "/abs": must be a relative path`,
			"spec.volumes[0].secret.items[1].mode: Invalid value: -1: must be a number between 0 and 0777 (octal), both inclusive",
			`spec.volumes[0].secret.items[2].path: Invalid value: "..x": must not start with '..'`,
			`spec.volumes[0].secret.items[3].path: Invalid value: "../x": must not contain '..'`,
		}},
		{name: "config map", spec: "volumes: [{name: v, configMap: {defaultMode: -1, items: [{key: a, path: a/../b}]}}]", want: []string{
			"spec.volumes[0].configMap.name: Required value",
			"spec.volumes[0].configMap.defaultMode: Invalid value: -1: must be a number between 0 and 0777 (octal), both inclusive",
			`spec.volumes[0].configMap.items[0].path: Invalid value: "a/../b": must not contain '..'`,
		}},
		{name: "downward files", spec: "volumes: [{name: v, downwardAPI: {defaultMode: 512, items: [{path: '', fieldRef: {fieldPath: metadata.name}}, {path: a}, {path: b, fieldRef: {fieldPath: status.podIP}, resourceFieldRef: {resource: limits.cpu}}, {path: c, mode: 512, resourceFieldRef: {resource: limits.cpu, divisor: 3}}, {path: d, resourceFieldRef: {containerName: main, resource: limits.x}}]}}]", want: []string{
			"spec.volumes[0].downwardAPI.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive",
			"spec.volumes[0].downwardAPI.path: Required value",
			"spec.volumes[0].downwardAPI: Required value: one of fieldRef and resourceFieldRef is required",
			`spec.volumes[0].downwardAPI.fieldRef.fieldPath: Unsupported value: "status.podIP": supported values: "metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"`,
			`spec.volumes[0].downwardAPI: Invalid value: "resource": fieldRef and resourceFieldRef can not be specified simultaneously`,
			"spec.volumes[0].downwardAPI.resourceFieldRef.containerName: Required value",
			`spec.volumes[0].downwardAPI.resourceFieldRef.divisor: Invalid value: "limits.cpu": only divisor's values 1m and 1 are supported with the cpu resource`,
			"spec.volumes[0].downwardAPI.mode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive",
			`spec.volumes[0].downwardAPI.resourceFieldRef.resource: Unsupported value: "limits.x": supported values: "limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory"`,
		}},
		{name: "claim", spec: "volumes: [{name: v, persistentVolumeClaim: {claimName: ''}}]", want: []string{
			"spec.volumes[0].persistentVolumeClaim.claimName: Required value",
		}},
		{name: "claim that the pod itself makes", spec: "volumes: [{name: v, ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}}}, {name: w, persistentVolumeClaim: {claimName: p-v}}]", want: []string{
			`spec.volumes[1].persistentVolumeClaim.claimName: Invalid value: "p-v": must not reference a PVC that gets created for an ephemeral volume`,
		}},
		{name: "template of a claim is missing", spec: "volumes: [{name: v, ephemeral: {}}]", want: []string{
			"spec.volumes[0].ephemeral.volumeClaimTemplate: Required value",
		}},
		{name: "template of a claim", spec: "volumes: [{name: v, ephemeral: {volumeClaimTemplate: {metadata: {name: a, labels: {a: b c}, annotations: {/: a}, finalizers: [a/b]}, spec: {accessModes: [ReadWriteOncePod, ReadWriteMany, Sometimes], selector: {matchLabels: {a: b c}}, storageClassName: A_, volumeMode: Tape, resources: {requests: {storage: 0}}, volumeAttributesClassName: A_}}}}]", want: []string{
			`spec.volumes[0].ephemeral.volumeClaimTemplate.metadata.annotations: Invalid value: "/": prefix part must be non-empty`,
			`spec.volumes[0].ephemeral.volumeClaimTemplate.metadata.annotations: Invalid value: "/": name part must be non-empty`,
			`spec.volumes[0].ephemeral.volumeClaimTemplate.metadata.annotations: Invalid value: "/": ` + badNamePart,
			`spec.volumes[0].ephemeral.volumeClaimTemplate.metadata.labels: Invalid value: "b c": ` + badLabelValue,
			"spec.volumes[0].ephemeral.volumeClaimTemplate.metadata.name: Forbidden: cannot be set",
			"spec.volumes[0].ephemeral.volumeClaimTemplate.metadata.finalizers: Forbidden: cannot be set",
			`spec.volumes[0].ephemeral.volumeClaimTemplate.spec.selector.matchLabels: Invalid value: "b c": ` + badLabelValue,
			`spec.volumes[0].ephemeral.volumeClaimTemplate.spec.accessModes: Unsupported value: "Sometimes": supported values: "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"`,
			"spec.volumes[0].ephemeral.volumeClaimTemplate.spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
			`spec.volumes[0].ephemeral.volumeClaimTemplate.spec.resources[storage]: Invalid value: "0": must be greater than zero`,
			`spec.volumes[0].ephemeral.volumeClaimTemplate.spec.storageClassName: Invalid value: "A_": ` + badSubdomain,
			`spec.volumes[0].ephemeral.volumeClaimTemplate.spec.volumeMode: Unsupported value: "Tape": supported values: "Block", "Filesystem"`,
			`spec.volumes[0].ephemeral.volumeClaimTemplate.spec.volumeAttributesClassName: Invalid value: "A_": ` + badSubdomain,
		}},
		{name: "template of a claim that wants nothing", spec: "volumes: [{name: v, ephemeral: {volumeClaimTemplate: {spec: {}}}}]", want: []string{
			"spec.volumes[0].ephemeral.volumeClaimTemplate.spec.accessModes: Required value: at least 1 access mode is required",
			"spec.volumes[0].ephemeral.volumeClaimTemplate.spec.resources[storage]: Required value",
		}},
		{name: "sources of a claim", spec: "volumes: [{name: v, ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1}}, dataSource: {kind: Pod, name: ''}, dataSourceRef: {apiGroup: A_, kind: '', name: x, namespace: B_}}}}}]", want: []string{
			"spec.volumes[0].ephemeral.volumeClaimTemplate.spec.dataSource.name: Required value",
			`spec.volumes[0].ephemeral.volumeClaimTemplate.spec.dataSource: Invalid value: "Pod": must be 'PersistentVolumeClaim' when referencing the default apiGroup`,
			"spec.volumes[0].ephemeral.volumeClaimTemplate.spec.dataSourceRef.kind: Required value",
			`spec.volumes[0].ephemeral.volumeClaimTemplate.spec.dataSourceRef.apiGroup: Invalid value: "A_": ` + badSubdomain,
			`spec.volumes[0].ephemeral.volumeClaimTemplate.spec.dataSourceRef.namespace: Invalid value: "B_": ` + badLabel,
			"spec.volumes[0].ephemeral.volumeClaimTemplate.spec: Invalid value: {}: may not be specified when dataSourceRef.namespace is specified",
		}},
		{name: "sources of a claim differ", spec: "volumes: [{name: v, ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1}}, dataSource: {kind: PersistentVolumeClaim, name: a}, dataSourceRef: {kind: PersistentVolumeClaim, name: b}}}}}]", want: []string{
			"spec.volumes[0].ephemeral.volumeClaimTemplate.spec: Invalid value: {}: must match dataSourceRef",
		}},
		{name: "source of a claim in another namespace", spec: "volumes: [{name: v, ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1}}, dataSource: {kind: PersistentVolumeClaim, name: a}, dataSourceRef: {kind: PersistentVolumeClaim, name: a, namespace: b}}}}}]", want: []string{
			"spec.volumes[0].ephemeral.volumeClaimTemplate.spec: Invalid value: {}: may not be specified when dataSourceRef.namespace is specified",
		}},
		{name: "claims are named after pod and volume", spec: "volumes: [{name: V_, ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1}}}}}}]", want: []string{
			`spec.volumes[0].name: Invalid value: "V_": PVC name "p-V_": ` + badSubdomain,
			`spec.volumes[0].name: Invalid value: "V_": ` + badLabel,
		}},
		{name: "image", spec: "volumes: [{name: v, image: {reference: '', pullPolicy: Sometimes}}]", want: []string{
			"spec.volumes[0].image.reference: Required value",
			`spec.volumes[0].image.pullPolicy: Unsupported value: "Sometimes": supported values: "Always", "IfNotPresent", "Never"`,
		}},
		{name: "csi", spec: "volumes: [{name: v, csi: {driver: '', nodePublishSecretRef: {name: ''}}}, {name: w, csi: {driver: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa_, nodePublishSecretRef: {name: A_}}}]", want: []string{
			"spec.volumes[0].csi.driver: Required value",
			"spec.volumes[0].csi.nodePublishSecretRef.name: Required value",
			"spec.volumes[1].csi.driver: Too long: may not be more than 63 bytes",
			`spec.volumes[1].csi.driver: Invalid value: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa_": ` + badSubdomain,
			`spec.volumes[1].csi.name: Invalid value: "A_": ` + badSubdomain,
		}},
	}.run(t)
}

func TestProjectedVolumeRules(t *testing.T) {
	ruleTable{
		{name: "modes and two sources in one", spec: "volumes: [{name: v, projected: {defaultMode: 512, sources: [{secret: {name: a}, configMap: {name: b}}]}}]", want: []string{
			"spec.volumes[0].projected.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive",
			"spec.volumes[0].projected.sources[0]: Forbidden: may not specify more than 1 volume type per source",
		}},
		{name: "names are missing", spec: "volumes: [{name: v, projected: {sources: [{secret: {}}, {configMap: {items: [{key: '', path: a}]}}]}}]", want: []string{
			"spec.volumes[0].projected.sources[0].secret.name: Required value",
			"spec.volumes[0].projected.sources[1].configMap.name: Required value",
			"spec.volumes[0].projected.sources[1].configMap.items[0].key: Required value",
		}},
		{name: "paths meet", spec: "volumes: [{name: v, projected: {sources: [{secret: {name: a, items: [{key: k, path: x}]}}, {configMap: {name: b, items: [{key: k, path: x}]}}, {downwardAPI: {items: [{path: x, fieldRef: {fieldPath: metadata.name}}]}}]}}]", want: []string{
			`spec.volumes[0].projected: Invalid value: "b": conflicting duplicate paths`,
			`spec.volumes[0].projected: Invalid value: "x": conflicting duplicate paths`,
		}},
		{name: "token", spec: "volumes: [{name: v, projected: {sources: [{serviceAccountToken: {path: '', expirationSeconds: 599}}, {serviceAccountToken: {path: ../a, expirationSeconds: 4294967297}}]}}]", want: []string{
			"spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes",
			"spec.volumes[0].projected.path: Required value",
			"spec.volumes[0].projected.sources[1].serviceAccountToken.expirationSeconds: Invalid value: 4294967297: may not specify a duration larger than 2^32 seconds",
			`spec.volumes[0].projected.path: Invalid value: "../a": must not contain '..'`,
		}},
		{name: "trust bundle", spec: "volumes: [{name: v, projected: {sources: [{clusterTrustBundle: {path: a, name: a, signerName: b.c/d}}, {clusterTrustBundle: {path: '', name: ''}}, {clusterTrustBundle: {path: b, name: 'a/b:c', labelSelector: {}}}, {clusterTrustBundle: {path: /c, name: ':x'}}, {clusterTrustBundle: {path: d, signerName: ''}}, {clusterTrustBundle: {path: d, signerName: a/b, labelSelector: {matchLabels: {a: b c}}}}, {clusterTrustBundle: {path: e}}]}}]", want: []string{
			`spec.volumes[0].projected.sources[0].clusterTrustBundle: Invalid value: {"name":"a","signerName":"b.c/d","path":"a"}: only one of name and signerName may be used`,
			"spec.volumes[0].projected.sources[1].clusterTrustBundle.name: Required value: must be a valid object name",
			`spec.volumes[0].projected.sources[1].clusterTrustBundle.name: Invalid value: "": not a valid clustertrustbundlename: ` + badSubdomain,
			"spec.volumes[0].projected.sources[1].clusterTrustBundle.path: Required value",
			`spec.volumes[0].projected.sources[2].clusterTrustBundle.name: Invalid value: "a/b:c": not a valid clustertrustbundlename: ClusterTrustBundle for signerName a/b must be named with prefix a:b:`,
			"spec.volumes[0].projected.sources[2].clusterTrustBundle.labelSelector: Invalid value: {}: labelSelector must be unset if name is specified",
			`spec.volumes[0].projected.sources[3].clusterTrustBundle.name: Invalid value: ":x": not a valid clustertrustbundlename: ClusterTrustBundle without signer name must not have ":" in its name`,
			`spec.volumes[0].projected.sources[3].clusterTrustBundle.path: Invalid value: "/c": must be a relative path`,
			"spec.volumes[0].projected.sources[4].clusterTrustBundle.signerName: Required value: must be a valid signer name",
			"spec.volumes[0].projected.sources[4].clusterTrustBundle.signerName: Required value",
			`spec.volumes[0].projected.sources[5].clusterTrustBundle.signerName: Invalid value: "a": should be a domain with at least two segments separated by dots`,
			`spec.volumes[0].projected.sources[5].clusterTrustBundle.labelSelector.matchLabels: Invalid value: "b c": ` + badLabelValue,
			`spec.volumes[0].projected: Invalid value: "d": conflicting duplicate paths`,
			"spec.volumes[0].projected.sources[6].clusterTrustBundle: Required value: either name or signerName must be specified",
		}},
		{name: "certificate", spec: "volumes: [{name: v, projected: {sources: [{podCertificate: {signerName: a, keyType: DSA, maxExpirationSeconds: 3599}}, {podCertificate: {signerName: A.b/C_, keyType: ED25519, maxExpirationSeconds: 7862401, keyPath: a, certificateChainPath: a, userAnnotations: {a: b}}}, {podCertificate: {signerName: kubernetes.io/x, keyType: ED25519, maxExpirationSeconds: 86401, credentialBundlePath: /b}}]}}]", want: []string{
			`spec.volumes[0].projected.sources[0].podCertificate.signerName: Invalid value: "a": must be a fully qualified domain and path of the form 'example.com/signer-name'`,
			`spec.volumes[0].projected.sources[0].podCertificate.keyType: Unsupported value: "DSA": supported values: "RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"`,
			"spec.volumes[0].projected.sources[0].podCertificate.maxExpirationSeconds: Invalid value: 3599: if provided, maxExpirationSeconds must be >= 3600",
			"spec.volumes[0].projected.sources[0].podCertificate: Required value: specify at least one of credentialBundlePath, keyPath, and certificateChainPath",
			`spec.volumes[0].projected.sources[1].podCertificate.signerName: Invalid value: "A.b": validating label "A": ` + badLabel,
			`spec.volumes[0].projected.sources[1].podCertificate.signerName: Invalid value: "C_": validating label "C_": ` + badSubdomain,
			`spec.volumes[0].projected.sources[1].podCertificate.userAnnotations: Invalid value: "a": must be a domain-prefixed key (such as "acme.io/foo")`,
			"spec.volumes[0].projected.sources[1].podCertificate.maxExpirationSeconds: Invalid value: 7862401: if provided, maxExpirationSeconds must be <= 7862400",
			`spec.volumes[0].projected: Invalid value: "a": conflicting duplicate paths`,
			"spec.volumes[0].projected.sources[2].podCertificate.maxExpirationSeconds: Invalid value: 86401: if provided, maxExpirationSeconds must be <= 86400",
			`spec.volumes[0].projected.sources[2].podCertificate.credentialBundlePath: Invalid value: "/b": must be a relative path`,
		}},
	}.run(t)
}
