//go:build cgo

package main

// The udp backend forwards packets in C; it is linked where there is a C compiler.
import _ "github.com/flannel-io/flannel/pkg/backend/udp"
