package main

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/flannel-io/flannel/pkg/ip"
	"github.com/flannel-io/flannel/pkg/lease"
	"github.com/flannel-io/flannel/pkg/subnet"
)

func network(t *testing.T, text string) ip.IP4Net {
	t.Helper()
	_, parsed, err := net.ParseCIDR(text)
	if err != nil {
		t.Fatal(err)
	}
	return ip.FromIPNet(parsed)
}

func facts(t *testing.T) subnetFacts {
	return subnetFacts{
		config:     &subnet.Config{EnableIPv4: true, Network: network(t, "10.244.0.0/16")},
		lease:      &lease.Lease{EnableIPv4: true, Subnet: network(t, "10.244.3.0/24")},
		mtu:        1450,
		masquerade: true,
	}
}

// upstream is the cni-conf.json of flannel's own manifest.
const upstream = `{"name": "cbr0", "cniVersion": "0.3.1", "plugins": [
  {"type": "flannel", "delegate": {"hairpinMode": true, "isDefaultGateway": true}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}`

func TestUpstreamsConfigurationBecomesBridgeWithHostLocal(t *testing.T) {
	rendered, err := renderCNIConfig([]byte(upstream), facts(t))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"name": "cbr0", "cniVersion": "0.3.1", "plugins": [
	  {"type": "bridge", "hairpinMode": true, "isDefaultGateway": true, "ipMasq": false, "mtu": 1450,
	   "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.244.3.0/24"}]], "routes": [{"dst": "10.244.0.0/16"}]}},
	  {"type": "portmap", "capabilities": {"portMappings": true}}]}`
	if !sameJSON(t, rendered, []byte(want)) {
		t.Errorf("got %s", rendered)
	}
}

func TestTheDelegatesOwnSettingsWin(t *testing.T) {
	rendered, err := renderCNIConfig([]byte(`{"name": "n", "cniVersion": "1.0.0", "plugins": [
	  {"type": "flannel", "delegate": {"bridge": "br0", "mtu": 1300, "ipMasq": true}, "ipam": {"dataDir": "/run/ipam"}}]}`), facts(t))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"name": "n", "cniVersion": "1.0.0", "plugins": [
	  {"type": "bridge", "bridge": "br0", "mtu": 1300, "ipMasq": true, "isGateway": true, "ipam": {"type": "host-local",
	   "dataDir": "/run/ipam", "ranges": [[{"subnet": "10.244.3.0/24"}]], "routes": [{"dst": "10.244.0.0/16"}]}}]}`
	if !sameJSON(t, rendered, []byte(want)) {
		t.Errorf("got %s", rendered)
	}
}

func TestWhatIsNoConfigurationListIsRefused(t *testing.T) {
	for _, text := range []string{`{"type": "bridge"}`, `{"plugins": [1]}`, `{`} {
		if _, err := renderCNIConfig([]byte(text), facts(t)); err == nil {
			t.Errorf("%s was accepted", text)
		}
	}
}

func TestTheFileIsWrittenOnceAndNothingIsLeftBeside(t *testing.T) {
	directory := t.TempDir()
	source, destination := filepath.Join(directory, "cni-conf.json"), filepath.Join(directory, "net.d", "10-flannel.conflist")
	if err := os.WriteFile(source, []byte(upstream), 0o644); err != nil {
		t.Fatal(err)
	}
	var inodes [2]os.FileInfo
	for i := range inodes {
		if err := writeCNIConfig(source, destination, facts(t)); err != nil {
			t.Fatal(err)
		}
		inodes[i], _ = os.Stat(destination)
	}
	if !os.SameFile(inodes[0], inodes[1]) {
		t.Error("an equal file was replaced")
	}
	entries, _ := os.ReadDir(filepath.Dir(destination))
	if len(entries) != 1 {
		t.Errorf("files in the directory: %v", entries)
	}
}

func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var texts [2]string
	for i, text := range [][]byte{a, b} {
		var value any
		if err := json.Unmarshal(text, &value); err != nil {
			t.Fatal(err)
		}
		canonical, _ := json.Marshal(value)
		texts[i] = string(canonical)
	}
	return texts[0] == texts[1]
}
