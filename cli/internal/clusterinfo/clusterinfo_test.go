package clusterinfo

import (
	"strings"
	"testing"

	"millrace.dev/cli/internal/fakeapi"
)

func TestClusterInfo(t *testing.T) {
	api := fakeapi.Start(t)
	got := api.Run(New, "", "cluster-info")
	const want = `
NATS is running at nats://10.0.0.1:4222

COMPONENT   NAME          LEADER   HEALTH      MESSAGE
api         api-1                  Healthy     
scheduler   scheduler-1   yes      Unhealthy   behind
`
	if !strings.HasPrefix(got.Out, "Millrace control plane is running at nats://127.0.0.1:") || !strings.HasSuffix(got.Out, want) {
		t.Errorf("cluster-info:\n%s%s\nwant the end\n%s", got.Out, got.Err, want)
	}
}
