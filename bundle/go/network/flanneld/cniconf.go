package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/flannel-io/flannel/pkg/lease"
	"github.com/flannel-io/flannel/pkg/subnet"
)

// subnetFacts is what the CNI configuration needs to know of the node's network.
type subnetFacts struct {
	config     *subnet.Config
	lease      *lease.Lease
	mtu        int
	masquerade bool
}

// writeCNIConfig renders the configuration list at source and puts it at destination by rename: whoever watches the
// directory sees nothing or all of it.
func writeCNIConfig(source, destination string, facts subnetFacts) error {
	text, err := os.ReadFile(source)
	if err != nil {
		return fmt.Errorf("reading the CNI configuration: %w", err)
	}
	rendered, err := renderCNIConfig(text, facts)
	if err != nil {
		return fmt.Errorf("CNI configuration %s: %w", source, err)
	}
	if current, err := os.ReadFile(destination); err == nil && string(current) == string(rendered) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(destination), 0o755); err != nil {
		return err
	}
	// A leading dot and no known extension: CNI loaders skip it.
	temporary := filepath.Join(filepath.Dir(destination), "."+filepath.Base(destination)+".new")
	if err := os.WriteFile(temporary, rendered, 0o644); err != nil {
		return err
	}
	return os.Rename(temporary, destination)
}

// renderCNIConfig replaces every plugin of type `flannel` by what the flannel CNI plugin would delegate to on this
// node, `bridge` with `host-local` unless its `delegate` says otherwise. That saves one process per pod and one file
// to read. Other plugins are passed on as they are.
func renderCNIConfig(text []byte, facts subnetFacts) ([]byte, error) {
	var list map[string]any
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, err
	}
	plugins, ok := list["plugins"].([]any)
	if !ok {
		return nil, fmt.Errorf("not a configuration list: no plugins")
	}
	for i, entry := range plugins {
		plugin, ok := entry.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("plugin %d is not an object", i)
		}
		if plugin["type"] == "flannel" {
			plugins[i] = delegate(plugin, facts)
		}
	}
	rendered, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(rendered, '\n'), nil
}

// delegate has the defaults of the flannel CNI plugin: type bridge, gateway on, masquerade only where flanneld does
// not do it, the backend's MTU, and addresses from the node's subnet with a route to the whole pod network.
func delegate(plugin map[string]any, facts subnetFacts) map[string]any {
	conf, ok := plugin["delegate"].(map[string]any)
	if !ok {
		conf = map[string]any{}
	}
	setDefault(conf, "type", "bridge")
	setDefault(conf, "ipMasq", !facts.masquerade)
	setDefault(conf, "mtu", facts.mtu)
	if conf["type"] == "bridge" && conf["isDefaultGateway"] == nil {
		setDefault(conf, "isGateway", true)
	}
	ipam := map[string]any{}
	if user, ok := plugin["ipam"].(map[string]any); ok {
		ipam = user
	}
	setDefault(ipam, "type", "host-local")
	routes, _ := ipam["routes"].([]any)
	ranges := []any{}
	if facts.config.EnableIPv4 && !facts.lease.Subnet.Empty() {
		ranges = append(ranges, []any{map[string]any{"subnet": facts.lease.Subnet.String()}})
		routes = append(routes, map[string]any{"dst": facts.config.Network.String()})
	}
	if facts.config.EnableIPv6 && !facts.lease.IPv6Subnet.Empty() {
		ranges = append(ranges, []any{map[string]any{"subnet": facts.lease.IPv6Subnet.String()}})
		routes = append(routes, map[string]any{"dst": facts.config.IPv6Network.String()})
	}
	ipam["ranges"], ipam["routes"] = ranges, routes
	conf["ipam"] = ipam
	return conf
}

func setDefault(object map[string]any, key string, value any) {
	if _, present := object[key]; !present {
		object[key] = value
	}
}
