package main

import (
	"flag"
	"fmt"
	"os"

	log "k8s.io/klog/v2"
)

// options has upstream flanneld's flags under their names, without those of the etcd subnet manager, and ours for
// the CNI configuration.
type options struct {
	version                   bool
	kubeSubnetMgr             bool
	kubeAPIURL                string
	kubeconfigFile            string
	kubeAnnotationPrefix      string
	netConfigPath             string
	setNodeNetworkUnavailable bool

	iface         []string
	ifaceRegex    []string
	ifaceCanReach string
	publicIP      string
	publicIPv6    string

	ipMasq                   bool
	ipMasqRandomFullyDisable bool
	iptablesForwardRules     bool
	iptablesResyncSeconds    int

	subnetFile         string
	cniConfSource      string
	cniConfDestination string

	healthzIP   string
	healthzPort int
}

func parseOptions(arguments []string) options {
	var o options
	flags := flag.NewFlagSet("flanneld", flag.ExitOnError)
	flags.BoolVar(&o.version, "version", false, "print the version and exit")
	flags.BoolVar(&o.kubeSubnetMgr, "kube-subnet-mgr", true, "take leases from the Kubernetes API; the only manager that is linked")
	flags.StringVar(&o.kubeAPIURL, "kube-api-url", "", "URL of the API server; not needed in a pod")
	flags.StringVar(&o.kubeconfigFile, "kubeconfig-file", "", "kubeconfig; not needed in a pod")
	flags.StringVar(&o.kubeAnnotationPrefix, "kube-annotation-prefix", "flannel.alpha.coreos.com", "prefix of the node annotations")
	flags.StringVar(&o.netConfigPath, "net-config-path", "/etc/kube-flannel/net-conf.json", "network configuration")
	flags.BoolVar(&o.setNodeNetworkUnavailable, "set-node-network-unavailable", true, "set the node condition NetworkUnavailable to false when the network works")
	flags.Func("iface", "interface (name or IP) for traffic between hosts; repeat for alternatives, the first match is used", appendTo(&o.iface))
	flags.Func("iface-regex", "regular expression for that interface's name or IP; tried after --iface", appendTo(&o.ifaceRegex))
	flags.StringVar(&o.ifaceCanReach, "iface-can-reach", "", "use the interface that the route to this IP uses")
	flags.StringVar(&o.publicIP, "public-ip", "", "address that other nodes reach this one by")
	flags.StringVar(&o.publicIPv6, "public-ipv6", "", "IPv6 address that other nodes reach this one by")
	flags.BoolVar(&o.ipMasq, "ip-masq", false, "masquerade traffic that leaves the pod network")
	flags.BoolVar(&o.ipMasqRandomFullyDisable, "ip-masq-fully-random-disable", false, "masquerade without --random-fully")
	flags.BoolVar(&o.iptablesForwardRules, "iptables-forward-rules", true, "accept forwarded pod traffic")
	flags.IntVar(&o.iptablesResyncSeconds, "iptables-resync", 5, "seconds between two checks of the rules")
	flags.StringVar(&o.subnetFile, "subnet-file", "/run/flannel/subnet.env", "file that tells the node's subnet and MTU")
	flags.StringVar(&o.cniConfSource, "cni-conf-src", "", "CNI configuration list to write once the network works; its `flannel` plugin becomes bridge with host-local")
	flags.StringVar(&o.cniConfDestination, "cni-conf-dest", "/etc/cni/net.d/10-flannel.conflist", "where to write it")
	flags.StringVar(&o.healthzIP, "healthz-ip", "0.0.0.0", "address of the health endpoint")
	flags.IntVar(&o.healthzPort, "healthz-port", 0, "port of the health endpoint, 0 for none")

	klog := flag.NewFlagSet("klog", flag.ContinueOnError)
	log.InitFlags(klog)
	for _, name := range []string{"v", "vmodule"} {
		known := klog.Lookup(name)
		flags.Var(known.Value, known.Name, known.Usage)
	}
	_ = flags.Parse(arguments) // ExitOnError
	if !o.kubeSubnetMgr {
		fmt.Fprintln(os.Stderr, "flanneld: only --kube-subnet-mgr is supported")
		os.Exit(2)
	}
	return o
}

func appendTo(list *[]string) func(string) error {
	return func(value string) error {
		*list = append(*list, value)
		return nil
	}
}
