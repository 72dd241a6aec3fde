package wire

import "github.com/nats-io/nats.go"

// Conn is a connection, for those who only pass it on.
type Conn = nats.Conn
