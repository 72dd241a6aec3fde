package watch

// Sized is a hub that keeps at least n changes of a resource.
func Sized(n int) *Hub { return &Hub{size: n, windows: map[string]*window{}} }
