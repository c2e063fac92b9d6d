# Two commands do all: `make cluster` and `make test`. The work is in scripts/; see docs/TESTING.md.
.PHONY: help cluster clean-cluster test soak conformance bench setup build bundle deny advisories fmt

help:
	@echo "make cluster        a running Kubernetes cluster of three lab hosts on this machine (name: demo)"
	@echo "                    WORKERS=0 make cluster: without workers"
	@echo "make clean-cluster  removes everything that make cluster made"
	@echo "make test           all rings that a push must pass"
	@echo "make soak           the robustness tests in their long form: about an hour; scripts/soak.sh"
	@echo "make conformance    upstream's conformance suite on two lab hosts; FOCUS, SKIP, NODES, HOSTS: scripts/conformance.sh"
	@echo "make bench          ours beside stock kubeadm, kubelet and containerd, in one run"
	@echo "                    parts of it: make bench PARTS=\"ours pods\"; options: scripts/bench.sh --help"
	@echo "make build          junioadm, junio-kubelet and the bundle    make setup, make deny, make fmt"

cluster:
	@scripts/cluster.sh up

clean-cluster:
	@scripts/cluster.sh down

test:
	@scripts/test.sh

soak:
	@scripts/soak.sh

conformance:
	@scripts/conformance.sh

bench:
	@scripts/bench.sh $(PARTS)

setup:
	@scripts/setup.sh

build:
	@scripts/build.sh

bundle:
	@scripts/build.sh bundle

deny:
	@scripts/deny.sh

advisories:
	@scripts/deny.sh advisories

fmt:
	cargo fmt --all
