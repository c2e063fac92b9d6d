// Command flanneld runs flannel's backends and traffic managers for one node of a Kubernetes cluster.
//
// It is upstream flanneld's job with upstream's packages and flags, and these differences: leases come from the
// Kubernetes API only, and its waits are watches (leases.go); only the backends vxlan, host-gw and udp are linked;
// and the node's CNI configuration is written here, once the network really works, instead of by an init container
// (cniconf.go), so that a node is Ready no earlier and no later than its pods can have a network.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"

	"github.com/flannel-io/flannel/pkg/backend"
	_ "github.com/flannel-io/flannel/pkg/backend/hostgw"
	_ "github.com/flannel-io/flannel/pkg/backend/vxlan"
	"github.com/flannel-io/flannel/pkg/ip"
	"github.com/flannel-io/flannel/pkg/subnet"
	"github.com/flannel-io/flannel/pkg/trafficmngr"
	"github.com/flannel-io/flannel/pkg/trafficmngr/iptables"
	"github.com/flannel-io/flannel/pkg/trafficmngr/nftables"
	"junioadm.io/bundle/xtables"
	log "k8s.io/klog/v2"
)

// version is set by the linker.
var version = "dev"

func main() {
	options := parseOptions(os.Args[1:])
	if options.version {
		fmt.Println(version)
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, options); err != nil && !errors.Is(err, context.Canceled) {
		log.Errorf("flanneld: %v", err)
		log.Flush()
		os.Exit(1)
	}
	log.Info("flanneld: stopped by signal")
}

// run returns when the context ends, or earlier with the reason why this node cannot have a network.
func run(parent context.Context, options options) error {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	var tasks sync.WaitGroup

	mode, err := xtables.Choose()
	if err != nil {
		return fmt.Errorf("choosing iptables: %w", err)
	}
	log.Infof("flanneld %s, iptables mode %q", version, mode)

	manager, err := newLeaseManager(options)
	if err != nil {
		return err
	}
	config := manager.config
	tasks.Go(func() { manager.run(ctx) })
	if options.healthzPort > 0 {
		if err := serveHealthz(ctx, &tasks, options); err != nil {
			return err
		}
	}
	checkBridgeFilter(config)

	external, err := externalInterface(ctx, options, manager, config)
	if err != nil {
		return err
	}
	register, err := backend.NewManager(ctx, manager, external).GetBackend(config.BackendType)
	if err != nil {
		return fmt.Errorf("backend %q: %w", config.BackendType, err)
	}
	network, err := register.RegisterNetwork(ctx, &tasks, config)
	if err != nil {
		return fmt.Errorf("registering the %s network: %w", config.BackendType, err)
	}

	previous := readSubnetFile(options.subnetFile)
	if err := manageTraffic(ctx, &tasks, options, config, previous, network); err != nil {
		return err
	}
	lease := network.Lease()
	if err := manager.HandleSubnetFile(options.subnetFile, config, options.ipMasq, lease.Subnet, lease.IPv6Subnet, network.MTU()); err != nil {
		return fmt.Errorf("writing %s: %w", options.subnetFile, err)
	}
	log.Infof("wrote %s", options.subnetFile)

	tasks.Go(func() { network.Run(ctx) })
	if options.cniConfSource != "" {
		facts := subnetFacts{config: config, lease: lease, mtu: network.MTU(), masquerade: options.ipMasq}
		if err := writeCNIConfig(options.cniConfSource, options.cniConfDestination, facts); err != nil {
			cancel(err)
			tasks.Wait()
			return err
		}
		log.Infof("wrote %s", options.cniConfDestination)
	}
	if err := manager.CompleteLease(ctx, lease, &tasks); err != nil {
		cancel(err)
	}
	tasks.Wait()
	return context.Cause(ctx)
}

// manageTraffic removes the rules of the mode that is not used and keeps those of the other one in place.
func manageTraffic(ctx context.Context, tasks *sync.WaitGroup, options options, config *subnet.Config, previous previousSubnet, network backend.Network) error {
	used, unused := trafficmngr.TrafficManager(&iptables.IPTablesManager{}), trafficmngr.TrafficManager(&nftables.NFTablesManager{})
	if config.EnableNFTables {
		used, unused = unused, used
	}
	// What an earlier flanneld in the other mode left behind is nobody's precondition: the node need not wait for it.
	tasks.Go(func() {
		if err := unused.CleanUp(ctx); err != nil {
			log.Warningf("rules of the unused traffic manager stay: %v", err)
		}
	})
	if err := used.Init(ctx); err != nil {
		return fmt.Errorf("starting the traffic manager: %w", err)
	}
	if options.ipMasq {
		err := used.SetupAndEnsureMasqRules(ctx,
			config.Network, previous.subnet, previous.network,
			config.IPv6Network, previous.subnet6, previous.network6,
			network.Lease(), options.iptablesResyncSeconds, options.ipMasqRandomFullyDisable)
		if err != nil {
			return fmt.Errorf("masquerade rules: %w", err)
		}
	}
	if options.iptablesForwardRules {
		// Docker sets the policy of FORWARD to DROP; pods need their own ACCEPT.
		used.SetupAndEnsureForwardRules(ctx, config.Network, config.IPv6Network, options.iptablesResyncSeconds)
	}
	return nil
}

// checkBridgeFilter warns where traffic between pods of one node would bypass service rules.
func checkBridgeFilter(config *subnet.Config) {
	if config.EnableNFTables {
		return
	}
	value, err := os.ReadFile("/proc/sys/net/bridge/bridge-nf-call-iptables")
	if err != nil || len(value) == 0 || value[0] != '1' {
		log.Warning("net.bridge.bridge-nf-call-iptables is not 1 (module br_netfilter): a pod that calls a service which ends on its own node may not get an answer")
	}
}

func serveHealthz(ctx context.Context, tasks *sync.WaitGroup, options options) error {
	listener, err := net.Listen("tcp", net.JoinHostPort(options.healthzIP, strconv.Itoa(options.healthzPort)))
	if err != nil {
		return fmt.Errorf("healthz: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("flanneld is running"))
	})
	server := &http.Server{Handler: mux}
	tasks.Go(func() { _ = server.Serve(listener) })
	tasks.Go(func() {
		<-ctx.Done()
		_ = server.Close()
	})
	return nil
}

// emptyNet and emptyNet6 are what upstream's traffic managers take for "there was none".
var (
	emptyNet  = ip.IP4Net{}
	emptyNet6 = ip.IP6Net{}
)
