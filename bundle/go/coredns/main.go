// Command coredns is CoreDNS with the plugins that a cluster's DNS needs and no others.
//
// The cluster's Corefile uses errors, health, ready, kubernetes, prometheus, forward, cache, loop, reload and
// loadbalance. The rest is what people add to it (hosts, rewrite, template, file, log, bind, acl, header, view of
// the metadata) and `etcd`, for SkyDNS records. Plugins for clouds, DNSSEC, QUIC and tracing are left out.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/acl"
	_ "github.com/coredns/coredns/plugin/autopath"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/bufsize"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/cancel"
	_ "github.com/coredns/coredns/plugin/debug"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/etcd"
	_ "github.com/coredns/coredns/plugin/file"
	_ "github.com/coredns/coredns/plugin/forward"
	_ "github.com/coredns/coredns/plugin/header"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/hosts"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/loadbalance"
	_ "github.com/coredns/coredns/plugin/local"
	_ "github.com/coredns/coredns/plugin/log"
	_ "github.com/coredns/coredns/plugin/loop"
	_ "github.com/coredns/coredns/plugin/metadata"
	_ "github.com/coredns/coredns/plugin/metrics"
	_ "github.com/coredns/coredns/plugin/minimal"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/reload"
	_ "github.com/coredns/coredns/plugin/rewrite"
	_ "github.com/coredns/coredns/plugin/root"
	_ "github.com/coredns/coredns/plugin/template"
	_ "github.com/coredns/coredns/plugin/timeouts"
	_ "github.com/coredns/coredns/plugin/tls"
	_ "github.com/coredns/coredns/plugin/transfer"
	_ "github.com/coredns/coredns/plugin/whoami"
)

// directives is the order in which plugins see a query. It has to be upstream's order: plugins rely on it.
var directives = []string{
	"root", "metadata", "cancel", "timeouts", "reload", "bufsize", "bind", "debug", "ready", "health", "prometheus",
	"errors", "log", "local", "loadbalance", "rewrite", "autopath", "acl", "cache", "header", "tls", "minimal",
	"template", "transfer", "hosts", "kubernetes", "file", "etcd", "loop", "forward", "whoami",
}

func main() {
	dnsserver.Directives = directives
	coremain.Run()
}
