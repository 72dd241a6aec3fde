package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"millrace.dev/pkg/client"
	"millrace.dev/pkg/natstest"
	"millrace.dev/pkg/scheme"
	"millrace.dev/pkg/wire"
)

func TestWithinGivesUp(t *testing.T) {
	c := client.ForUser(natstest.Run(t).Connect(), "alice").Within(50 * time.Millisecond)
	if _, err := c.Info(t.Context()); !errors.Is(err, client.ErrUnavailable) {
		t.Errorf("Info where nobody answers: %v", err)
	}
	if _, err := c.List(t.Context(), scheme.Pods, wire.Any, metav1.ListOptions{}); !errors.Is(err, client.ErrUnavailable) {
		t.Errorf("List where nobody answers: %v", err)
	}
}

// TestWithinLetsListsArrive: what is bounded is how long nobody answers, not how long an answer takes.
func TestWithinLetsListsArrive(t *testing.T) {
	const patience = 100 * time.Millisecond
	nc := natstest.Run(t).Connect()
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		served <- wire.Serve(ctx, nc, wire.Service{Subject: "api.>", Limit: 1, Handle: func(ctx context.Context, in *wire.Incoming) error {
			if err := in.Piece([]byte(`{"item":{}}`+"\n"), false); err != nil {
				return err
			}
			late, cancel := context.WithTimeout(ctx, 3*patience)
			defer cancel()
			<-late.Done()
			last, err := json.Marshal(client.ListLine{Meta: &metav1.ListMeta{ResourceVersion: "7"}})
			if err != nil {
				return err
			}
			return in.Piece(last, true)
		}})
	}()
	list, err := client.ForUser(nc, "alice").Within(patience).List(t.Context(), scheme.Pods, wire.Any, metav1.ListOptions{})
	if err != nil || len(list.Items) != 1 || list.ResourceVersion != "7" {
		t.Errorf("List that arrives slowly: %+v, %v", list, err)
	}
	stop()
	if err := <-served; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
