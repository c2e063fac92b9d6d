# Sourced by scripts/bench.sh: what was measured, one file of numbers for each key, and why something was not.
# shellcheck shell=bash

VALUES=$WORK/values
mkdir -p "$VALUES"
declare -A WHY=()

# record KEY NUMBER
record() { echo "$2" >>"$VALUES/$1"; }
# why KEY TEXT: the reason for which KEY has no number.
why() { WHY[$1]=$2; }

# value KEY: the median of what was recorded, or nothing.
value() { percentile "$1" 50; }

# percentile KEY P: nearest rank, but the mean of the middle two for the median of an even count; nothing when none is recorded.
percentile() {
  [ -s "$VALUES/$1" ] || return 0
  sort -n "$VALUES/$1" | awk -v p="$2" '{ v[NR] = $1 } END {
    if (p == 50) { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2; exit }
    rank = int(p / 100 * NR); if (rank < p / 100 * NR) rank++; print v[rank] }'
}

# minus A B: in seconds; milliseconds A B: the same times 1000.
minus() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.3f", a - b }'; }
milliseconds() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.1f", (a - b) * 1000 }'; }
