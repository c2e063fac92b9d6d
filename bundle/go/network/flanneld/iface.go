package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/flannel-io/flannel/pkg/backend"
	"github.com/flannel-io/flannel/pkg/ipmatch"
	"github.com/flannel-io/flannel/pkg/subnet"
	log "k8s.io/klog/v2"
)

// externalInterface finds the interface for traffic between hosts: the first match of --iface, --iface-regex and
// --iface-can-reach, or without any of them the one of the default route (or of the public address).
func externalInterface(ctx context.Context, options options, manager *leaseManager, config *subnet.Config) (*backend.ExternalInterface, error) {
	stack, err := ipmatch.GetIPFamily(config.EnableIPv4, config.EnableIPv6)
	if err != nil {
		return nil, fmt.Errorf("network configuration: %w", err)
	}
	public := ipmatch.PublicIPOpts{PublicIP: options.publicIP, PublicIPv6: options.publicIPv6}
	if v4, v6 := manager.GetStoredPublicIP(ctx); v4 != "" || v6 != "" {
		if v4 != "" {
			public.PublicIP = v4
		}
		if v6 != "" {
			public.PublicIPv6 = v6
		}
	}

	type candidate struct{ name, regex, reach string }
	var candidates []candidate
	for _, name := range options.iface {
		candidates = append(candidates, candidate{name: name})
	}
	for _, regex := range options.ifaceRegex {
		candidates = append(candidates, candidate{regex: regex})
	}
	if options.ifaceCanReach != "" {
		candidates = append(candidates, candidate{reach: options.ifaceCanReach})
	}
	if len(candidates) == 0 {
		address := public.PublicIP
		if address == "" {
			address = public.PublicIPv6
		}
		candidates = append(candidates, candidate{name: address})
	}

	var failures []error
	for _, c := range candidates {
		found, err := ipmatch.LookupExtIface(c.name, c.regex, c.reach, stack, public)
		if err == nil && found != nil {
			log.Infof("traffic between hosts uses %s, address %s %s", found.Iface.Name, found.ExtAddr, found.ExtV6Addr)
			return found, nil
		}
		failures = append(failures, fmt.Errorf("%+v: %w", c, err))
	}
	return nil, fmt.Errorf("no interface for traffic between hosts: %w", errors.Join(failures...))
}
