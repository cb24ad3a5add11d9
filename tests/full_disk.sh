#!/usr/bin/env bash
# full_disk.sh -- ingest and run on a disk that fills up: an error that says so and exit 1, nothing lost, and after
# there is room again the same commands go on to the result they would have had at once.
#
#     tests/full_disk.sh [BUILD]
#
# On a small tmpfs of its own; without the right to mount one it is skipped (exit 77).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

build=${1:-.build/release}
sluice=$build/sluice dump=$build/tests/sim/sluice-dump sample=$build/tests/data/sluice-sample
dir=$(mktemp -d "${TMPDIR:-/tmp}/sluice-full-XXXXXX")
mkdir "$dir/disk"
mounted=no size=40
leave() {
	[[ $mounted == no ]] || umount -l "$dir/disk"
	rm -rf "$dir"
}
trap leave EXIT

if ! mount -t tmpfs -o size=${size}k sluice-full "$dir/disk" 2>"$dir/out"; then
	echo "full_disk.sh: SKIPPED: cannot mount a tmpfs: $(cat "$dir/out")"
	exit 77
fi
mounted=yes

fail() {
	echo "full_disk.sh: $*" >&2
	sed 's/^/    /' "$dir/out" >&2
	exit 1
}

cat >"$dir/t.yaml" <<-'YAML'
	topology: full
	metrics: off
	partitions: 2
	steps:
	  - name: dedupe
	    from: pairs.raw
	    to: { unique: unique, duplicate: duplicate, conflict: conflict, contaminated: contaminated }
	  - { name: embed, from: unique, to: { embedded: embedded, gold: pairs.gold } }
YAML
"$sample" --pairs 2500 --seed 5 -o "$dir/sample" >/dev/null

ingest() { "$sluice" ingest -t "$dir/t.yaml" --data "$1" --time 2026-01-01T00:00:00Z "$dir/sample/raw.jsonl"; }
run() { "$sluice" run -t "$dir/t.yaml" --data "$1" --until-idle --freeze; }

# Must fail with exit 1 and tell that the disk is full, until there is room; counts the failures.
failures=0
with_growing_disk() { # command ...
	local code=0
	for (( ; ; )); do
		code=0
		"$@" >"$dir/out" 2>&1 || code=$?
		[[ $code -ne 0 ]] || return 0
		[[ $code -eq 1 ]] || fail "'$*' on a full disk ended with $code, expected 1"
		grep -qi 'no space left' "$dir/out" || fail "'$*' on a full disk does not say so"
		failures=$((failures + 1))
		size=$((size + 500 + size / 6)) # a failed try may leave up to 1 MiB of RocksDB log behind until one succeeds
		[[ $size -lt 100000 ]] || fail "'$*' still fails with room"
		mount -o "remount,size=${size}k" "$dir/disk"
	done
}

ingest "$dir/wanted" >"$dir/out" 2>&1 || fail "ingest with room failed"
run "$dir/wanted" >"$dir/out" 2>&1 || fail "run with room failed"

with_growing_disk ingest "$dir/disk/data"
at_ingest=$failures
# What is left is too little again.
size=$(($(du -sk "$dir/disk" | cut -f1) + 40))
mount -o "remount,size=${size}k" "$dir/disk"
with_growing_disk run "$dir/disk/data"
[[ $at_ingest -ge 1 && $failures -gt $at_ingest ]] || fail "the disk was never full: $at_ingest, $failures"
diff -r "$dir/wanted/topics" "$dir/disk/data/topics" >"$dir/out" || fail "the topics differ"
diff <("$dump" "$dir/t.yaml" "$dir/wanted") <("$dump" "$dir/t.yaml" "$dir/disk/data") >"$dir/out" ||
	fail "the stores differ"
echo "full_disk.sh: $at_ingest full disks in ingest, $((failures - at_ingest)) in run, the same result"
