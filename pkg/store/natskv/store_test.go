package natskv_test

import (
	"errors"
	"fmt"
	"testing"

	"millrace.dev/pkg/natsd"
	"millrace.dev/pkg/natstest"
	"millrace.dev/pkg/store"
	"millrace.dev/pkg/store/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return natstest.Run(t).Open() })
}

func TestConformanceDurable(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store {
		return natstest.Start(t, natsd.Config{Name: "durable", Dir: t.TempDir(), Host: "127.0.0.1", MaxFileStore: 4 << 30}).Open()
	})
}

func TestFull(t *testing.T) {
	s := natstest.Start(t, natsd.Config{Name: "small", Dir: t.TempDir(), Host: "127.0.0.1", MaxFileStore: 330 << 20, Volatile: true}).Open()
	body := string(make([]byte, 3<<19))
	var err error
	for i := 0; err == nil && i < 300; i++ {
		_, err = s.Write(t.Context(), storetest.Messages(t, storetest.Change(fmt.Sprint(i), 0, body)))
	}
	if !errors.Is(err, store.ErrFull) {
		t.Fatalf("a full store answers %v, want ErrFull", err)
	}
}
