package main

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/flannel-io/flannel/pkg/ip"
	"github.com/flannel-io/flannel/pkg/lease"
	"github.com/flannel-io/flannel/pkg/subnet"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
)

func manager(t *testing.T) *leaseManager {
	return &leaseManager{
		config:   &subnet.Config{EnableIPv4: true, Network: network(t, "10.244.0.0/16")},
		nodeName: "self", keys: newAnnotationKeys("flannel.alpha.coreos.com"),
		nodes: cache.NewStore(cache.MetaNamespaceKeyFunc), events: newEventQueue(), own: newSignal1(),
	}
}

func node(name, cidr string, annotations map[string]string) *v1.Node {
	return &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: annotations},
		Spec:       v1.NodeSpec{PodCIDR: cidr, PodCIDRs: []string{cidr}},
	}
}

func annotated(mac string) map[string]string {
	return map[string]string{
		"flannel.alpha.coreos.com/kube-subnet-manager": "true",
		"flannel.alpha.coreos.com/backend-type":        "vxlan",
		"flannel.alpha.coreos.com/backend-data":        `{"VNI":1,"VtepMAC":"` + mac + `"}`,
		"flannel.alpha.coreos.com/public-ip":           "192.0.2.7",
	}
}

func TestANodeIsALeaseOnceItIsAnnotatedAndAgainWhenItsAddressChanges(t *testing.T) {
	m := manager(t)
	bare, first, second := node("other", "10.244.1.0/24", nil), node("other", "10.244.1.0/24", annotated("aa:aa:aa:aa:aa:aa")), node("other", "10.244.1.0/24", annotated("bb:bb:bb:bb:bb:bb"))
	m.observe(nil, bare)
	m.observe(bare, first)
	m.observe(first, first.DeepCopy())
	m.observe(first, second)
	m.forget(cache.DeletedFinalStateUnknown{Obj: second})
	events, err := m.events.take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var kinds []lease.EventType
	for _, event := range events {
		kinds = append(kinds, event.Type)
		if event.Lease.Subnet.String() != "10.244.1.0/24" || event.Lease.Attrs.PublicIP.String() != "192.0.2.7" {
			t.Errorf("lease %+v", event.Lease)
		}
	}
	if len(kinds) != 3 || kinds[0] != lease.EventAdded || kinds[1] != lease.EventAdded || kinds[2] != lease.EventRemoved {
		t.Errorf("events %v", kinds)
	}
}

func TestTheOwnNodeIsWaitedForUntilItHasASubnet(t *testing.T) {
	m := manager(t)
	ready := func(n *v1.Node) bool { return n.Spec.PodCIDR != "" }
	found := make(chan string)
	go func() {
		n, err := m.ownNode(t.Context(), ready)
		if err != nil {
			close(found)
			return
		}
		found <- n.Spec.PodCIDR
	}()
	for _, cidr := range []string{"", "10.244.9.0/24"} {
		n := node("self", cidr, nil)
		if err := m.nodes.Add(n); err != nil {
			t.Fatal(err)
		}
		m.observe(nil, n)
	}
	select {
	case cidr := <-found:
		if cidr != "10.244.9.0/24" {
			t.Errorf("got %q", cidr)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("nobody noticed the node")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := manager(t).ownNode(ended, ready); err == nil {
		t.Error("the end of the context was not noticed")
	}
}

func TestAPodCIDROutsideOfTheNetworkIsAnError(t *testing.T) {
	if _, _, err := manager(t).subnetsOf(node("self", "10.99.0.0/24", nil)); err == nil {
		t.Error("accepted")
	}
}

func TestOnlyWhatDiffersIsPublishedAndAnOverwriteWins(t *testing.T) {
	keys := newAnnotationKeys("flannel.alpha.coreos.com")
	address, _ := ip.ParseIP4("192.0.2.7")
	attrs := &lease.LeaseAttrs{PublicIP: address, BackendType: "vxlan", BackendData: json.RawMessage(`{"VNI":1,"VtepMAC":"aa:aa:aa:aa:aa:aa"}`)}
	n := node("self", "10.244.1.0/24", annotated("aa:aa:aa:aa:aa:aa"))
	changes, err := keys.publish(n, attrs)
	if err != nil || len(changes) != 0 {
		t.Errorf("changes %v, error %v", changes, err)
	}
	n.Annotations["flannel.alpha.coreos.com/public-ip-overwrite"] = "198.51.100.1"
	changes, err = keys.publish(n, attrs)
	if err != nil || len(changes) != 1 || changes["flannel.alpha.coreos.com/public-ip"] != "198.51.100.1" {
		t.Errorf("changes %v, error %v", changes, err)
	}
	if mac, _ := keys.hardwareAddresses(n); mac != "aa:aa:aa:aa:aa:aa" {
		t.Errorf("hardware address %q", mac)
	}
}
