#!/usr/bin/env bash
# Writes tests/reference/fixtures/phase-flags.txt anew: the flags of each `kubeadm init phase`, from the help texts of the
# reference kubeadm. One line a phase: its name as GROUP/PHASE, then its own flags. Deprecated flags, which the help hides,
# are found by giving them.
source "$(dirname "$0")/common.sh"

kubeadm=$("$ROOT/scripts/reference-kubeadm.sh")
out=$ROOT/tests/reference/fixtures/phase-flags.txt

# names PHASE...: the commands below a phase.
names() { "$kubeadm" init phase "$@" --help | sed -n '/^Available Commands:/,/^$/p' | awk 'NR > 1 && NF { print $1 }'; }
# flags PHASE...: its flags without the global ones and --help.
flags() {
  "$kubeadm" init phase "$@" --help | sed -n '/^Flags:/,/^Global Flags:/p' | grep -oE '^ +(-[a-z], )?--[a-z0-9-]+' | grep -oE '[a-z0-9-]+$' |
    sed 's/^--//' | grep -v '^help$' || true
  for flag in apiserver-extra-args controller-manager-extra-args scheduler-extra-args; do
    # The flag behind it does not exist, so that nothing runs; the first unknown one is named.
    case "$("$kubeadm" init phase "$@" "--$flag=a=b" --no-such-flag 2>&1 || true)" in
      *--no-such-flag*) echo "$flag" ;;
    esac
  done
}

for phase in $(names); do
  members=$(names "$phase")
  if [ -z "$members" ]; then
    echo "$phase: $(flags "$phase" | sort | xargs)"
  fi
  for member in $members; do
    echo "$phase/$member: $(flags "$phase" "$member" | sort | xargs)"
  done
done >"$out.part"
mv "$out.part" "$out"
