package podspec

import "testing"

func TestAffinityRules(t *testing.T) {
	ruleTable{
		{name: "node terms are missing", spec: "affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: []}}}", want: []string{
			"spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: must have at least one node selector term",
		}},
		{name: "node requirements", spec: "affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: In}, {key: b, operator: Exists, values: [c]}, {key: d, operator: Gt, values: [a, b]}, {key: e, operator: Like}, {key: 'f g', operator: Exists}, {key: h, operator: In, values: ['i j']}]}]}}}", want: []string{
			"spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
			"spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[1].values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
			"spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[2].values: Required value: must be specified single value when `operator` is 'Lt' or 'Gt'",
			`spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[3].operator: Invalid value: "Like": not a valid selector operator`,
			`spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[4].key: Invalid value: "f g": ` + badNamePart,
			`spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[5].values[0]: Invalid value: "i j": ` + badLabelValue,
		}},
		{name: "node fields", spec: "affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchFields: [{key: metadata.name, operator: In, values: [a, B_]}, {key: spec.x, operator: Exists}]}]}}}", want: []string{
			"spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchFields[0].values: Required value: must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
			`spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchFields[0].values[1]: Invalid value: "B_": ` + badSubdomain,
			`spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchFields[1].operator: Invalid value: "Exists": not a valid selector operator`,
			`spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchFields[1].key: Invalid value: "spec.x": not a valid field selector key`,
		}},
		{name: "preferred node terms", spec: "affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 0, preference: {}}, {weight: 101, preference: {matchExpressions: [{key: a, operator: In, values: ['any thing']}]}}]}}", want: []string{
			"spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 0: must be in the range 1-100",
			"spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[1].weight: Invalid value: 101: must be in the range 1-100",
		}},
		{name: "pod terms", spec: "affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{}, {topologyKey: 'a b', namespaces: [A_], labelSelector: {matchExpressions: [{key: a, operator: In}]}, namespaceSelector: {matchLabels: {a: 'b c'}}}]}}", want: []string{
			"spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Required value: can not be empty",
			`spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Invalid value: "": name part must be non-empty`,
			`spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Invalid value: "": ` + badNamePart,
			"spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[1].labelSelector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
			`spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[1].namespaceSelector.matchLabels: Invalid value: "b c": ` + badLabelValue,
			`spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[1].namespace: Invalid value: "A_": ` + badLabel,
			`spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[1].topologyKey: Invalid value: "a b": ` + badNamePart,
		}},
		{name: "preferred pod terms", spec: "affinity: {podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 0, podAffinityTerm: {topologyKey: ''}}]}}", want: []string{
			"spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 0: must be in the range 1-100",
			"spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.topologyKey: Required value: can not be empty",
			`spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.topologyKey: Invalid value: "": name part must be non-empty`,
			`spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.topologyKey: Invalid value: "": ` + badNamePart,
		}},
		{name: "label keys", meta: "labels: {app: web}", spec: "affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: z, matchLabelKeys: [a], mismatchLabelKeys: [b]}, {topologyKey: z, labelSelector: {matchLabels: {app: web}}, matchLabelKeys: [app, 'x y', c], mismatchLabelKeys: [c]}]}}", want: []string{
			"spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].matchLabelKeys: Forbidden: must not be specified when labelSelector is not set",
			"spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].mismatchLabelKeys: Forbidden: must not be specified when labelSelector is not set",
			`spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[1].matchLabelKeys[1]: Invalid value: "x y": ` + badNamePart,
			`spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[1][0]: Invalid value: "app": exists in both matchLabelKeys and labelSelector`,
			`spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[1].matchLabelKeys[2]: Invalid value: "c": exists in both matchLabelKeys and mismatchLabelKeys`,
		}},
	}.run(t)
}

func TestSchedulingRules(t *testing.T) {
	ruleTable{
		{name: "gates", spec: "schedulingGates: [{name: a/b/c}, {name: g}, {name: g}]", want: []string{
			`spec.schedulingGates[0]: Invalid value: "a/b/c": a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')`,
			`spec.schedulingGates[2]: Duplicate value: "g"`,
		}},
		{name: "gates hold back a node", spec: "nodeName: n1, schedulingGates: [{name: g}]", want: []string{
			"spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared",
		}},
		{name: "readiness gates", spec: "readinessGates: [{conditionType: 'a b'}]", want: []string{
			`spec.readinessGates[0].conditionType: Invalid value: "a b": ` + badNamePart,
		}},
		{name: "tolerations", spec: "tolerations: [{key: 'a b', operator: Exists}, {value: x}, {key: a, effect: NoSchedule, tolerationSeconds: 3}, {key: a, value: 'b c'}, {key: a, operator: Exists, value: b}, {key: a, operator: Like, effect: Never}, {key: a, operator: Gt, value: '3'}]", want: []string{
			`spec.tolerations[0].key: Invalid value: "a b": ` + badNamePart,
			"spec.tolerations[1].operator: Invalid value: \"\": operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
			"spec.tolerations[2].effect: Invalid value: \"NoSchedule\": effect must be 'NoExecute' when `tolerationSeconds` is set",
			`spec.tolerations[3].operator: Invalid value: "b c": ` + badLabelValue,
			"spec.tolerations[4].operator: Invalid value: \"b\": value must be empty when `operator` is 'Exists'",
			`spec.tolerations[5].operator: Unsupported value: "Like": supported values: "Equal", "Exists"`,
			`spec.tolerations[5].effect: Unsupported value: "Never": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"`,
			`spec.tolerations[6].operator: Unsupported value: "Gt": supported values: "Equal", "Exists", "Lt", "Gt"`,
		}},
		{name: "spread", spec: "topologySpreadConstraints: [{maxSkew: 0, topologyKey: '', whenUnsatisfiable: Never}, {maxSkew: 1, topologyKey: z, whenUnsatisfiable: ScheduleAnyway, minDomains: 0, nodeAffinityPolicy: Maybe, nodeTaintsPolicy: Maybe, labelSelector: {matchLabels: {a: 'b c'}}}, {maxSkew: 1, topologyKey: z, whenUnsatisfiable: ScheduleAnyway, matchLabelKeys: [a]}]", want: []string{
			"spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
			"spec.topologySpreadConstraints[0].topologyKey: Required value: can not be empty",
			`spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: "Never": supported values: "DoNotSchedule", "ScheduleAnyway"`,
			`spec.topologySpreadConstraints[1].{topologyKey, whenUnsatisfiable}: Duplicate value: "{z, ScheduleAnyway}"`,
			"spec.topologySpreadConstraints[1].minDomains: Invalid value: 0: must be greater than zero",
			"spec.topologySpreadConstraints[1].minDomains: Invalid value: 0: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway",
			`spec.topologySpreadConstraints[1].nodeAffinityPolicy: Unsupported value: "Maybe": supported values: "Honor", "Ignore"`,
			`spec.topologySpreadConstraints[1].nodeTaintsPolicy: Unsupported value: "Maybe": supported values: "Honor", "Ignore"`,
			`spec.topologySpreadConstraints[1].labelSelector.matchLabels: Invalid value: "b c": ` + badLabelValue,
			"spec.topologySpreadConstraints[2].matchLabelKeys: Forbidden: must not be specified when labelSelector is not set",
		}},
		{name: "spread by a label twice", meta: "labels: {app: web}", spec: "topologySpreadConstraints: [{maxSkew: 1, topologyKey: z, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: web}}, matchLabelKeys: [app]}]", want: []string{
			`spec.topologySpreadConstraints[0][0]: Invalid value: "app": exists in both matchLabelKeys and labelSelector`,
		}},
		{name: "node selector", spec: "nodeSelector: {'a b': c, d: 'e f'}", want: []string{
			`spec.nodeSelector: Invalid value: "a b": ` + badNamePart,
			`spec.nodeSelector: Invalid value: "e f": ` + badLabelValue,
		}},
		{name: "preemption", spec: "preemptionPolicy: Sometimes", want: []string{
			`spec.preemptionPolicy: Unsupported value: "Sometimes": supported values: "PreemptLowerPriority", "Never"`,
		}},
	}.run(t)
}
