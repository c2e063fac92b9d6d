#!/bin/sh
# mmdebstrap's customize hook: turns a fresh Debian root into a lab host. $1 = the root; the host's files lie beside this script.
set -eu
root=$1
here=$(dirname "$0")

# Every host makes its own identity at its first start.
rm -f "$root"/etc/ssh/ssh_host_*
: > "$root/etc/machine-id"

# Units that make no sense in a container, or that would reach outside.
for unit in getty.target console-getty.service systemd-logind.service systemd-udevd.service systemd-modules-load.service \
  sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount dev-hugepages.mount dev-mqueue.mount \
  proc-sys-fs-binfmt_misc.automount systemd-remount-fs.service e2scrub_reap.service e2scrub_all.timer apt-daily.timer \
  apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer systemd-networkd.service systemd-resolved.service \
  systemd-timesyncd.service; do
  ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
ln -sf /lib/systemd/system/multi-user.target "$root/etc/systemd/system/default.target"

mkdir -p "$root/etc/systemd/system/multi-user.target.wants" "$root/etc/docker" "$root/etc/systemd/journald.conf.d"
printf '[Journal]\nStorage=volatile\nRuntimeMaxUse=32M\n' > "$root/etc/systemd/journald.conf.d/lab.conf"
printf 'PermitRootLogin prohibit-password\nPasswordAuthentication no\nUseDNS no\n' > "$root/etc/ssh/sshd_config.d/lab.conf"
install -d -m 700 "$root/root/.ssh"

for unit in lab-host-keys.service lab-resolver.service; do
  install -m 644 "$here/$unit" "$root/etc/systemd/system/$unit"
  ln -sf "../$unit" "$root/etc/systemd/system/multi-user.target.wants/$unit"
done
install -m 755 "$here/lab-init" "$here/lab-resolver" "$root/usr/local/sbin/"
