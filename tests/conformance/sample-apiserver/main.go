// Command sample-apiserver is upstream's sample aggregated API server, for the one conformance spec that deploys it.
// Only the entry point is ours; it is a module of its own because the bundle has no use for its dependencies.
package main

import (
	"os"

	"k8s.io/apiserver/pkg/server"
	"k8s.io/component-base/cli"
	sample "k8s.io/sample-apiserver/pkg/cmd/server"
)

func main() {
	options := sample.NewWardleServerOptions(os.Stdout, os.Stderr)
	os.Exit(cli.Run(sample.NewCommandStartWardleServer(server.SetupSignalContext(), options, false)))
}
