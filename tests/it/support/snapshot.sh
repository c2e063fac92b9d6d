# Prints the state of a host that an installer could leave traces in, one fact per line: `SECTION fact`.
# What changes by itself on an idle host (random seeds, counters, logs of running services) is left out, and nothing else.
section() { sed "s|^|$1 |"; }

find /etc /opt /usr /var/lib /var/log /var/cache /var/spool /root /home /srv -xdev \
  \( -path /var/lib/docker -o -path /var/lib/containerd -o -path /var/log/journal \) -prune -o \
  -printf '%y %m %U:%G %p %l\n' | section file
find /etc /opt /usr/local /root /home /srv -xdev -type f -exec sha256sum {} + | section content
find /var/lib -xdev \( -path /var/lib/docker -o -path /var/lib/containerd -o -path /var/lib/systemd \) -prune -o \
  -type f -exec sha256sum {} + | section content
find /run -mindepth 1 -xdev \( -path /run/docker -o -path /run/containerd -o -path /run/systemd -o -path /run/log -o -path /run/user -o -path /run/sudo \) -prune -o \
  -printf '%y %p\n' | section run
sysctl -a 2>/dev/null | grep -v -E '^(fs\.(dentry|file-nr|inode)|kernel\.(random|ns_last_pid|pty\.nr|sched_domain)|net\.netfilter\.nf_conntrack_(count|max|buckets)|fs\.quota|net\.ipv4\.route|kernel\.perf|net\.ipv[46]\.(conf|neigh)\.veth)' | section sysctl
[ -d /run/systemd/system ] || echo "unit-file (no systemd)"
systemctl list-unit-files --no-legend --no-pager | awk '{ print $1, $2 }' | section unit-file
systemctl list-units --all --plain --no-legend --no-pager --type=service,socket,timer,target | awk '$1 !~ /^(systemd-tmpfiles-clean|user@|user-runtime)/ { print $1, $2, $3 }' | section unit
awk '{ print $2, $3, $4 }' /proc/mounts | section mount
ip -o link show | awk '{ sub(/@.*/, "", $2); print $2 }' | section link
ip -o address show | awk '{ print $2, $4 }' | section address
ip route show table all | grep -v -E 'linkdown|proto ra' | section route
ip rule show | section rule
bridge fdb show 2>/dev/null | awk '/permanent/ && /dst/' | section fdb
for tool in iptables ip6tables iptables-legacy ip6tables-legacy; do
  "$tool-save" 2>/dev/null | grep -v '^#' | sed 's/ \[[0-9:]*\]$//' | section "$tool"
done
nft list tables 2>/dev/null | section nft
ipset list -name 2>/dev/null | section ipset
docker ps -a --format '{{.Names}} {{.Image}} {{.State}}' | section container
docker images --all --no-trunc --format '{{.Repository}}:{{.Tag}} {{.ID}}' | section image
docker volume ls -q | section volume
docker network ls --format '{{.Name}} {{.Driver}}' | section network
find /sys/fs/cgroup -type d -path '*kubepods*' 2>/dev/null | section cgroup
ps -eo comm= | grep -v -E '^(ps|sh|bash|sed|sort|runc.*|sshd|find|awk)$' | sort -u | section process
