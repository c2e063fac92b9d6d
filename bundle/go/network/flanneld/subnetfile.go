package main

import (
	"net"
	"os"
	"strings"

	"github.com/flannel-io/flannel/pkg/ip"
	log "k8s.io/klog/v2"
)

// previousSubnet is what an earlier run of flanneld wrote to the subnet file; its rules are removed when it differs
// from the current lease.
type previousSubnet struct {
	network, subnet   ip.IP4Net
	network6, subnet6 ip.IP6Net
}

func readSubnetFile(path string) previousSubnet {
	previous := previousSubnet{network: emptyNet, subnet: emptyNet, network6: emptyNet6, subnet6: emptyNet6}
	content, err := os.ReadFile(path)
	if err != nil {
		if !os.IsNotExist(err) {
			log.Warningf("reading the previous subnet: %v", err)
		}
		return previous
	}
	for line := range strings.Lines(string(content)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		_, parsed, err := net.ParseCIDR(value)
		if err != nil {
			continue
		}
		switch key {
		case "FLANNEL_NETWORK":
			previous.network = ip.FromIPNet(parsed)
		case "FLANNEL_SUBNET":
			previous.subnet = ip.FromIPNet(parsed)
		case "FLANNEL_IPV6_NETWORK":
			previous.network6 = ip.FromIP6Net(parsed)
		case "FLANNEL_IPV6_SUBNET":
			previous.subnet6 = ip.FromIP6Net(parsed)
		}
	}
	return previous
}
