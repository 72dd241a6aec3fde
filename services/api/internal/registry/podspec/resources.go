package podspec

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"millrace.dev/pkg/podinfo"
	"millrace.dev/services/api/internal/registry/check"
)

// checkRequirements checks requests against limits and each resource against what named accepts.
func checkRequirements(at check.At, r *corev1.ResourceRequirements, named func(check.At, corev1.ResourceName)) {
	limits, requests := at.Child("limits"), at.Child("requests")
	pages, compute := false, false
	amounts := func(at check.At, list corev1.ResourceList, compare func(corev1.ResourceName)) {
		for name, amount := range check.Sorted(list) {
			at := at.Key(string(name))
			named(at, name)
			check.Quantity(at, name, amount)
			compare(name)
			check.WholePages(at, name, amount)
			pages = pages || check.HugePages(name)
			compute = compute || name == corev1.ResourceCPU || name == corev1.ResourceMemory
		}
	}
	amounts(limits, r.Limits, func(corev1.ResourceName) {})
	amounts(requests, r.Requests, func(name corev1.ResourceName) {
		request := r.Requests[name]
		switch limit, limited := r.Limits[name]; {
		case !limited && !check.Overcommittable(name):
			limits.Required("Limit must be set for non overcommitable resources")
		case !limited:
		case request.Cmp(limit) != 0 && !check.Overcommittable(name):
			requests.Invalid(request.String(), fmt.Sprintf("must be equal to %s limit of %s", name, limit.String()))
		case request.Cmp(limit) > 0:
			requests.Invalid(request.String(), fmt.Sprintf("must be less than or equal to %s limit of %s", name, limit.String()))
		}
	})
	if pages && !compute {
		at.Forbidden("HugePages require cpu or memory")
	}
}

// checkPodResources checks what a pod requests for its containers together.
func (s *subject) checkPodResources(at check.At) {
	r := s.Resources
	switch {
	case r == nil:
		return
	case isWindows(s.PodSpec):
		at.Forbidden("may not be set for a windows pod")
		return
	case r.Claims != nil:
		at.Child("claims").Forbidden("claims may not be set for Resources at pod-level")
	}
	checkRequirements(at, r, check.PodResource)
	s.checkClaimsOf(at.Child("claims"), r.Claims)
	for name, sum := range check.Sorted(podinfo.ContainerRequests(s.PodSpec)) {
		if request, given := r.Requests[name]; given && sum.Cmp(request) > 0 {
			at.Child("requests").Key(string(name)).Invalid(request.String(), fmt.Sprintf("must be greater than or equal to aggregate container requests of %s", sum.String()))
		}
	}
	for name, sum := range check.Sorted(podinfo.ContainerLimits(s.PodSpec)) {
		if limit, given := r.Limits[name]; given && check.HugePages(name) && sum.Cmp(limit) > 0 {
			at.Child("limits").Key(string(name)).Invalid(limit.String(), fmt.Sprintf("must be greater than or equal to aggregate container limits of %s", sum.String()))
		}
	}
	for i := range s.Containers {
		for name, limit := range check.Sorted(s.Containers[i].Resources.Limits) {
			if pod, given := r.Limits[name]; given && limit.Cmp(pod) > 0 {
				at.Child("containers").Index(i).Key(string(name)).Child("limits").Invalid(limit.String(), fmt.Sprintf("must be less than or equal to pod limits of %s", pod.String()))
			}
		}
	}
}

// checkClaimsOf checks the resource claims that a container uses: each once, whole or by request, and known to the pod.
func (s *subject) checkClaimsOf(at check.At, claims []corev1.ResourceClaim) {
	seen := sets.New[string]()
	for i, c := range claims {
		at := at.Index(i)
		if !at.NotEmpty(c.Name) {
			continue
		}
		key := c.Name
		if c.Request != "" && !seen.Has(c.Name) {
			at.Child("request").DNSLabel(c.Request)
			key += "/" + c.Request
		}
		if seen.Has(key) {
			at.Duplicate(key)
		} else if c.Request == "" {
			for other := range check.Sorted(seen) {
				if strings.HasPrefix(other, c.Name+"/") {
					at.Duplicate(c.Name)
				}
			}
		}
		seen.Insert(key)
		if !s.claims.Has(c.Name) {
			missing := field.NotFound(at.Path(), c.Name)
			missing.Detail = "must be one of the names in pod.spec.resourceClaims"
			if len(s.claims) == 0 {
				missing.Detail += " which is empty"
			} else {
				missing.Detail += ": " + strings.Join(sets.List(s.claims), ", ")
			}
			at.Add(missing)
		}
	}
}

// checkResizePolicy checks how a running container takes new amounts; some faults stand at the list.
func (s *subject) checkResizePolicy(at check.At, policies []corev1.ContainerResizePolicy) {
	seen := sets.New[corev1.ResourceName]()
	for i, p := range policies {
		if seen.Has(p.ResourceName) {
			at.Index(i).Duplicate(p.ResourceName)
		}
		seen.Insert(p.ResourceName)
		check.RequiredOneOf(at, p.ResourceName, corev1.ResourceCPU, corev1.ResourceMemory)
		check.RequiredOneOf(at, p.RestartPolicy, corev1.NotRequired, corev1.RestartContainer)
		if s.RestartPolicy == corev1.RestartPolicyNever && p.RestartPolicy != corev1.NotRequired {
			at.Invalid(p.RestartPolicy, "must be 'NotRequired' when pod `restartPolicy` is 'Never'")
		}
	}
}
