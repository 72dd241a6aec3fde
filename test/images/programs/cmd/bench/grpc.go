package main

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"strconv"
)

// The gRPC statuses that a health check can end with.
const (
	grpcOK            = 0
	grpcInvalid       = 3
	grpcNotFound      = 5
	grpcUnimplemented = 12
)

// The methods of the gRPC server. Echo's request may be any message; its answer is one string, field 1.
const (
	grpcCheck = "/grpc.health.v1.Health/Check"
	grpcEcho  = "/millrace.test.Echo/Echo"
)

// serveGRPC answers health checks and echoes over gRPC on addr until ctx ends; every other method is unimplemented. A call
// here is one message each way over HTTP/2, so it needs no gRPC library.
func (s *echoServer) serveGRPC(ctx context.Context, addr string) error {
	l, err := listen(ctx, addr)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: http.HandlerFunc(s.answerGRPC), Protocols: new(http.Protocols)}
	server.Protocols.SetUnencryptedHTTP2(true)
	return serveOn(ctx, l, server)
}

func (s *echoServer) answerGRPC(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/grpc")
	status := grpcUnimplemented
	switch r.URL.Path {
	case grpcCheck:
		status = s.check(w, r.Body)
	case grpcEcho:
		said := line(s.reply(r.RemoteAddr, r.URL.Path))
		writeMessage(w, append(binary.AppendUvarint([]byte{1<<3 | 2}, uint64(len(said))), said...))
		status = grpcOK
	}
	w.Header().Set(http.TrailerPrefix+"Grpc-Status", strconv.Itoa(status))
}

// check answers a health check and returns the status of the call.
func (s *echoServer) check(w io.Writer, request io.Reader) int {
	service, err := checkedService(request)
	if err != nil {
		return grpcInvalid
	}
	serving, known := s.serving(service)
	if !known {
		return grpcNotFound
	}
	answer := byte(2) // NOT_SERVING
	if serving {
		answer = 1 // SERVING
	}
	writeMessage(w, []byte{1 << 3, answer})
	return grpcOK
}

// writeMessage frames a message: a byte for no compression, and its length.
func writeMessage(w io.Writer, message []byte) {
	_, _ = w.Write(append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...))
}

// checkedService reads a HealthCheckRequest: field 1 is the name of the service, and is left out if it is empty.
func checkedService(r io.Reader) (string, error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return "", err
	}
	length := binary.BigEndian.Uint32(head[1:])
	if length == 0 {
		return "", nil
	}
	if length > 127 { // longer names would need a longer varint
		return "", errors.New("message too long")
	}
	message := make([]byte, length)
	if _, err := io.ReadFull(r, message); err != nil {
		return "", err
	}
	if len(message) < 2 || message[0] != 1<<3|2 || int(message[1]) != len(message)-2 {
		return "", errors.New("not a HealthCheckRequest")
	}
	return string(message[2:]), nil
}
