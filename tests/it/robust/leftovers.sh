# Prints what this host has of pods that the API server does not know, one thing per line; nothing when all is well.
# Runs as a user with KUBECONFIG set. A pod's identity is its UID; a static pod's is in an annotation of its mirror.
known=$(kubectl get pods -A -o jsonpath='{range .items[*]}{.metadata.uid}{"\n"}{.metadata.annotations.kubernetes\.io/config\.hash}{"\n"}{end}' | grep .) || { echo "kubectl failed"; exit 0; }
is_known() { grep -qxF -- "$1" <<<"$known"; }

docker ps -aq | xargs -r docker inspect -f '{{index .Config.Labels "io.kubernetes.pod.uid"}} {{.Name}}' | while read -r uid name; do
  is_known "$uid" || echo "container $name"
done
for dir in /var/lib/kubelet/pods/*; do
  [ -e "$dir" ] && { is_known "${dir##*/}" || echo "directory $dir"; }
done
awk '$2 ~ "^/var/lib/kubelet/pods/" { print $2 }' /proc/mounts | while read -r point; do
  uid=${point#/var/lib/kubelet/pods/}
  is_known "${uid%%/*}" || echo "mount $point"
done
find /sys/fs/cgroup -type d -path '*kubepods*' -name 'pod*' ! -name '*.slice' 2>/dev/null | while read -r group; do
  uid=${group##*/pod}
  is_known "$uid" || echo "cgroup $group"
done

# As many addresses and bridge ports as running sandboxes on the pod network, not one more.
sandboxes=$(docker ps -q --filter label=io.kubernetes.docker.type=podsandbox | xargs -r docker inspect -f '{{.HostConfig.NetworkMode}}' | grep -vc '^host$')
addresses=$(find /var/lib/cni/networks -type f -name '*.*.*.*' 2>/dev/null | wc -l)
ports=$(ip -o link show master cni0 2>/dev/null | wc -l)
[ "$sandboxes" = "$addresses" ] || echo "addresses: $addresses for $sandboxes sandboxes"
[ "$sandboxes" = "$ports" ] || echo "bridge ports: $ports for $sandboxes sandboxes"
exit 0
