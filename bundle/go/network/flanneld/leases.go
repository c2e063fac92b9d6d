package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/flannel-io/flannel/pkg/ip"
	"github.com/flannel-io/flannel/pkg/lease"
	"github.com/flannel-io/flannel/pkg/subnet"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	log "k8s.io/klog/v2"
)

var errUnsupported = errors.New("not supported by the Kubernetes lease manager")

// leaseManager is flannel's subnet.Manager on the Kubernetes API: a node's spec.podCIDRs are its subnet and a node's
// annotations (upstream's names) tell the other nodes how to reach it. It works like upstream's `pkg/subnet/kube`,
// but waits for the node and its podCIDR by watch: upstream polls once a second and ends when the controller manager
// has not yet given the node its podCIDR.
type leaseManager struct {
	config   *subnet.Config
	nodeName string
	keys     annotationKeys
	client   *rest.RESTClient
	setReady bool

	nodes  cache.Store
	watch  cache.Controller
	events *eventQueue
	own    *signal1
}

func newLeaseManager(options options) (*leaseManager, error) {
	client, err := newNodeClient(options)
	if err != nil {
		return nil, err
	}
	nodeName := os.Getenv("NODE_NAME")
	if nodeName == "" {
		return nil, errors.New("the environment variable NODE_NAME has to name this node (fieldRef spec.nodeName)")
	}
	text, err := os.ReadFile(options.netConfigPath)
	if err != nil {
		return nil, fmt.Errorf("network configuration: %w", err)
	}
	config, err := subnet.ParseConfig(string(text))
	if err != nil {
		return nil, fmt.Errorf("network configuration %s: %w", options.netConfigPath, err)
	}
	m := &leaseManager{
		config: config, nodeName: nodeName, keys: newAnnotationKeys(options.kubeAnnotationPrefix), client: client,
		setReady: options.setNodeNetworkUnavailable, events: newEventQueue(), own: newSignal1(),
	}
	m.nodes, m.watch = cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: cache.NewListWatchFromClient(client, "nodes", metav1.NamespaceAll, fields.Everything()),
		ObjectType:    &v1.Node{},
		ResyncPeriod:  5 * time.Minute,
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(node any) { m.observe(nil, node) },
			UpdateFunc: m.observe,
			DeleteFunc: m.forget,
		},
	})
	return m, nil
}

func (m *leaseManager) run(ctx context.Context) { m.watch.RunWithContext(ctx) }

// observe turns a new or changed node into a lease event when something that matters to the overlay changed.
func (m *leaseManager) observe(before, after any) {
	node := after.(*v1.Node)
	if node.Name == m.nodeName {
		m.own.raise()
	}
	if previous, ok := before.(*v1.Node); ok && m.keys.same(previous, node) {
		return
	}
	m.enqueue(lease.EventAdded, node)
}

func (m *leaseManager) forget(object any) {
	if tombstone, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = tombstone.Obj
	}
	if node, ok := object.(*v1.Node); ok {
		m.enqueue(lease.EventRemoved, node)
	}
}

func (m *leaseManager) enqueue(kind lease.EventType, node *v1.Node) {
	if node.Annotations[m.keys.managed] != "true" {
		return
	}
	l, err := m.leaseOf(node)
	if err != nil {
		log.Warningf("node %s has no usable lease: %v", node.Name, err)
		return
	}
	m.events.push(lease.Event{Type: kind, Lease: l})
}

// ownNode waits until this node is there and `ready` accepts it.
func (m *leaseManager) ownNode(ctx context.Context, ready func(*v1.Node) bool) (*v1.Node, error) {
	said := false
	for {
		if object, exists, _ := m.nodes.GetByKey(m.nodeName); exists {
			if node := object.(*v1.Node); ready(node) {
				return node, nil
			}
		}
		if !said {
			log.Infof("waiting for node %s (registered, with a podCIDR)", m.nodeName)
			said = true
		}
		select {
		case <-m.own.raised():
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// AcquireLease publishes how this node is reached and returns its subnet.
func (m *leaseManager) AcquireLease(ctx context.Context, attrs *lease.LeaseAttrs) (*lease.Lease, error) {
	node, err := m.ownNode(ctx, func(n *v1.Node) bool { return n.Spec.PodCIDR != "" })
	if err != nil {
		return nil, err
	}
	changes, err := m.keys.publish(node, attrs)
	if err != nil {
		return nil, err
	}
	if len(changes) > 0 {
		patch := map[string]any{"metadata": map[string]any{"annotations": changes}}
		if err := m.patchStatus(ctx, types.MergePatchType, patch); err != nil {
			return nil, fmt.Errorf("annotating node %s: %w", m.nodeName, err)
		}
	}
	own := &lease.Lease{Attrs: *attrs, Expiration: time.Now().Add(24 * time.Hour)}
	if own.Subnet, own.IPv6Subnet, err = m.subnetsOf(node); err != nil {
		return nil, err
	}
	// The udp backend speaks IPv4 only and says so in the lease; the others read the configuration.
	own.EnableIPv4 = m.config.EnableIPv4
	own.EnableIPv6 = m.config.EnableIPv6 && attrs.BackendType != "udp"
	return own, nil
}

// subnetsOf returns a node's podCIDRs, which have to lie in the configured networks.
func (m *leaseManager) subnetsOf(node *v1.Node) (v4 ip.IP4Net, v6 ip.IP6Net, err error) {
	cidrs := node.Spec.PodCIDRs
	if len(cidrs) == 0 && node.Spec.PodCIDR != "" {
		cidrs = []string{node.Spec.PodCIDR}
	}
	for _, text := range cidrs {
		_, cidr, err := net.ParseCIDR(text)
		if err != nil {
			return v4, v6, err
		}
		switch {
		case cidr.IP.To4() != nil && m.config.EnableIPv4:
			if m.config.Network.Empty() || !contains(m.config.Network.ToIPNet(), cidr) {
				return v4, v6, fmt.Errorf("podCIDR %s of node %s is not inside the network %s of net-conf.json", cidr, node.Name, m.config.Network)
			}
			v4 = ip.FromIPNet(cidr)
		case cidr.IP.To4() == nil && m.config.EnableIPv6:
			if m.config.IPv6Network.Empty() || !contains(m.config.IPv6Network.ToIPNet(), cidr) {
				return v4, v6, fmt.Errorf("podCIDR %s of node %s is not inside the network %s of net-conf.json", cidr, node.Name, m.config.IPv6Network)
			}
			v6 = ip.FromIP6Net(cidr)
		}
	}
	if m.config.EnableIPv4 && v4.Empty() {
		return v4, v6, fmt.Errorf("node %s has no IPv4 podCIDR", node.Name)
	}
	if m.config.EnableIPv6 && v6.Empty() {
		return v4, v6, fmt.Errorf("node %s has no IPv6 podCIDR", node.Name)
	}
	return v4, v6, nil
}

func contains(outer, inner *net.IPNet) bool {
	outerOnes, _ := outer.Mask.Size()
	innerOnes, _ := inner.Mask.Size()
	return outerOnes <= innerOnes && outer.Contains(inner.IP)
}

func (m *leaseManager) leaseOf(node *v1.Node) (l lease.Lease, err error) {
	if l.Subnet, l.IPv6Subnet, err = m.subnetsOf(node); err != nil {
		return l, err
	}
	l.EnableIPv4, l.EnableIPv6 = m.config.EnableIPv4, m.config.EnableIPv6
	l.Attrs, err = m.keys.read(node, m.config)
	return l, err
}

// WatchLeases hands over lease events, this node's own included, until the context ends.
func (m *leaseManager) WatchLeases(ctx context.Context, receiver chan []lease.LeaseWatchResult) error {
	defer close(receiver)
	for {
		batch, err := m.events.take(ctx)
		if err != nil {
			return err
		}
		select {
		case receiver <- []lease.LeaseWatchResult{{Events: batch}}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// CompleteLease tells the cluster that this node's network works.
func (m *leaseManager) CompleteLease(ctx context.Context, _ *lease.Lease, _ *sync.WaitGroup) error {
	if !m.setReady {
		return nil
	}
	now := metav1.Now()
	condition := v1.NodeCondition{
		Type: v1.NodeNetworkUnavailable, Status: v1.ConditionFalse, Reason: "FlannelIsUp",
		Message: "Flannel is running on this node", LastTransitionTime: now, LastHeartbeatTime: now,
	}
	patch := map[string]any{"status": map[string]any{"conditions": []v1.NodeCondition{condition}}}
	if err := m.patchStatus(ctx, types.StrategicMergePatchType, patch); err != nil {
		return fmt.Errorf("setting the condition NetworkUnavailable of node %s: %w", m.nodeName, err)
	}
	return nil
}

func (m *leaseManager) patchStatus(ctx context.Context, kind types.PatchType, patch any) error {
	body, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	return m.client.Patch(kind).Resource("nodes").Name(m.nodeName).SubResource("status").Body(body).Do(ctx).Error()
}

// GetStoredMacAddresses lets a restarted flanneld keep the hardware addresses that other nodes know it by.
func (m *leaseManager) GetStoredMacAddresses(ctx context.Context) (string, string) {
	node, err := m.ownNode(ctx, func(*v1.Node) bool { return true })
	if err != nil {
		return "", ""
	}
	return m.keys.hardwareAddresses(node)
}

// GetStoredPublicIP returns the addresses that the cluster's administrator wrote into the node's annotations.
func (m *leaseManager) GetStoredPublicIP(ctx context.Context) (string, string) {
	node, err := m.ownNode(ctx, func(*v1.Node) bool { return true })
	if err != nil {
		return "", ""
	}
	return node.Annotations[m.keys.nodePublicIP], node.Annotations[m.keys.nodePublicIPv6]
}

func (m *leaseManager) GetNetworkConfig(context.Context) (*subnet.Config, error) {
	return m.config, nil
}

func (m *leaseManager) HandleSubnetFile(path string, config *subnet.Config, masquerade bool, v4 ip.IP4Net, v6 ip.IP6Net, mtu int) error {
	return subnet.WriteSubnetFile(path, config, masquerade, v4, v6, mtu)
}

func (m *leaseManager) RenewLease(context.Context, *lease.Lease) error { return errUnsupported }

func (m *leaseManager) WatchLease(context.Context, ip.IP4Net, ip.IP6Net, chan []lease.LeaseWatchResult) error {
	return errUnsupported
}

func (m *leaseManager) Name() string { return "Kubernetes API, node " + m.nodeName }
