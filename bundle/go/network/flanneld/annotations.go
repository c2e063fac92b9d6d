package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/flannel-io/flannel/pkg/ip"
	"github.com/flannel-io/flannel/pkg/lease"
	"github.com/flannel-io/flannel/pkg/subnet"
	v1 "k8s.io/api/core/v1"
)

// annotationKeys are the node annotations by which flannel's nodes find each other; the names are upstream's
// (pkg/subnet/kube), so that nodes with upstream's flanneld and ours can be in one cluster.
type annotationKeys struct {
	managed, backendType         string
	data, dataV6                 string
	publicIP, publicIPv6         string
	overwriteIP, overwriteIPv6   string
	nodePublicIP, nodePublicIPv6 string
}

func newAnnotationKeys(prefix string) annotationKeys {
	switch {
	case !strings.Contains(prefix, "/"):
		prefix += "/"
	case !strings.HasSuffix(prefix, "/") && !strings.HasSuffix(prefix, "-"):
		prefix += "-"
	}
	return annotationKeys{
		managed: prefix + "kube-subnet-manager", backendType: prefix + "backend-type",
		data: prefix + "backend-data", dataV6: prefix + "backend-v6-data",
		publicIP: prefix + "public-ip", publicIPv6: prefix + "public-ipv6",
		overwriteIP: prefix + "public-ip-overwrite", overwriteIPv6: prefix + "public-ipv6-overwrite",
		nodePublicIP: prefix + "node-public-ip", nodePublicIPv6: prefix + "node-public-ipv6",
	}
}

// same tells whether two states of a node look alike to the other nodes.
func (k annotationKeys) same(a, b *v1.Node) bool {
	for _, key := range []string{k.managed, k.backendType, k.data, k.dataV6, k.publicIP, k.publicIPv6} {
		if a.Annotations[key] != b.Annotations[key] {
			return false
		}
	}
	return a.Spec.PodCIDR == b.Spec.PodCIDR
}

// publish returns the annotations to change so that the node says what `attrs` says.
func (k annotationKeys) publish(node *v1.Node, attrs *lease.LeaseAttrs) (map[string]string, error) {
	data, err := attrs.BackendData.MarshalJSON()
	if err != nil {
		return nil, err
	}
	dataV6, err := attrs.BackendV6Data.MarshalJSON()
	if err != nil {
		return nil, err
	}
	want := map[string]string{k.managed: "true", k.backendType: attrs.BackendType}
	if attrs.PublicIP != 0 {
		want[k.data] = string(data)
		want[k.publicIP] = attrs.PublicIP.String()
		if overwrite := node.Annotations[k.overwriteIP]; overwrite != "" {
			want[k.publicIP] = overwrite
		}
	}
	if attrs.PublicIPv6 != nil {
		want[k.dataV6] = string(dataV6)
		want[k.publicIPv6] = attrs.PublicIPv6.String()
		if overwrite := node.Annotations[k.overwriteIPv6]; overwrite != "" {
			want[k.publicIPv6] = overwrite
		}
	}
	for key, value := range want {
		if node.Annotations[key] == value {
			delete(want, key)
		}
	}
	return want, nil
}

func (k annotationKeys) read(node *v1.Node, config *subnet.Config) (attrs lease.LeaseAttrs, err error) {
	attrs.BackendType = node.Annotations[k.backendType]
	if config.EnableIPv4 {
		if attrs.PublicIP, err = ip.ParseIP4(node.Annotations[k.publicIP]); err != nil {
			return attrs, fmt.Errorf("annotation %s: %w", k.publicIP, err)
		}
		attrs.BackendData = json.RawMessage(node.Annotations[k.data])
	}
	if config.EnableIPv6 {
		if attrs.PublicIPv6, err = ip.ParseIP6(node.Annotations[k.publicIPv6]); err != nil {
			return attrs, fmt.Errorf("annotation %s: %w", k.publicIPv6, err)
		}
		attrs.BackendV6Data = json.RawMessage(node.Annotations[k.dataV6])
	}
	return attrs, nil
}

// hardwareAddresses reads VtepMAC from the backend data, for example {"VNI":1,"VtepMAC":"12:c6:65:89:b4:e3"}.
func (k annotationKeys) hardwareAddresses(node *v1.Node) (v4, v6 string) {
	read := func(key string) string {
		var data struct{ VtepMAC string }
		if json.Unmarshal([]byte(node.Annotations[key]), &data) != nil {
			return ""
		}
		return data.VtepMAC
	}
	return read(k.data), read(k.dataV6)
}
