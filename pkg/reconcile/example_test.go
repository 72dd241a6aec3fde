package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"millrace.dev/pkg/reconcile"
)

// A reconciler takes a key and looks at what there is. It returns an error to be called again, later each time, and After to
// be called at a time of its choice.
func ExampleQueue() {
	q := reconcile.NewQueue("example")
	ctx, cancel := context.WithCancel(context.Background())
	calls := 0
	work := reconciler(func(_ context.Context, k reconcile.Key) error {
		switch calls++; calls {
		case 1:
			fmt.Println(k, "is not ready")
			return errors.New("not ready")
		case 2:
			fmt.Println(k, "must be looked at again in a moment")
			return reconcile.After(time.Millisecond)
		default:
			fmt.Println(k, "is as it should be")
			cancel()
			return nil
		}
	})
	q.Add(reconcile.Key{Namespace: "shop", Name: "web"})
	err := q.Run(ctx, work, 1, reconcile.NewMeters(nil))
	fmt.Println(err)
	// Output:
	// shop/web is not ready
	// shop/web must be looked at again in a moment
	// shop/web is as it should be
	// context canceled
}
