#!/usr/bin/env bash
# kill.sh -- exactly once, on the product itself: SIGKILL at random moments, until the work is done,
# and the data folder must be what an uninterrupted run leaves.
#
#     tests/kill.sh                       25 kills of `run`, 7 of `ingest`, at least; ten times as many with SL_LONG=1
#     tests/kill.sh --kills 100           as many as you like
#     tests/kill.sh --seed 7 --pairs 4000 --build .build/release --keep
#
# `run --freeze` with a fixed arrival time: every segment file byte for byte the same, and every logged store, offset and
# count. Each pass from the start has other batch sizes and another number of threads.
# `ingest` likewise: no line lost, none doubled, the same bytes. With training in between, when a version is there decides
# what becomes of a pair: then the counts of every step must add up.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

kills=$([[ ${SL_LONG:-0} == 1 ]] && echo 250 || echo 25) seed=1 pairs=3000 build=.build/release keep=no

while [[ $# -gt 0 ]]; do
	case $1 in
	--kills | --seed | --pairs | --build)
		[[ $# -ge 2 ]] || { echo "kill.sh: $1 needs a value" >&2; exit 2; }
		declare "${1#--}=$2"
		shift
		;;
	--keep) keep=yes ;;
	*)
		sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}"
		[[ $1 == --help || $1 == -h ]] && exit 0
		exit 2
		;;
	esac
	shift
done

sluice=$build/sluice dump=$build/tests/sim/sluice-dump sample=$build/tests/data/sluice-sample
for tool in "$sluice" "$dump" "$sample"; do
	[[ -x $tool ]] || { echo "kill.sh: '$tool' is missing: build it first" >&2; exit 2; }
done
dir=$(mktemp -d "${TMPDIR:-/tmp}/sluice-kill-XXXXXX")
pid=''
leave() {
	[[ -z $pid ]] || kill -9 "$pid" 2>/dev/null || true
	[[ $keep == yes ]] || rm -rf "$dir"
}
trap leave EXIT
RANDOM=$seed

# Small segments, so that rolling and dropping them is in the game too.
topology=$dir/kill.yaml
{
	sed -e 's/^metrics:.*/metrics: off/' topology/curate.yaml
	printf 'topics:\n'
	for topic in pairs.raw pairs.unique pairs.embedded pairs.scored pairs.retrieved pairs.judged pairs.curated; do
		printf '  %s: { segment: 256KiB }\n' "$topic"
	done
} >"$topology"

ingest() { # folder, more arguments
	local folder=$1
	shift
	"$sluice" ingest -t "$topology" --data "$folder" --time 2026-01-01T00:00:00Z "$@"
}

now_ms() { date +%s%3N; }

# Starts the command, kills it after up to $1 ms unless it has ended; 0: it ended by itself, and well.
killed_within() { # span_ms, command ...
	local span=$1 after code=0
	shift
	"$@" >"$dir/out" 2>&1 &
	pid=$!
	after=$((RANDOM % span + 1))
	sleep "$((after / 1000)).$(printf '%03d' $((after % 1000)))"
	kill -9 "$pid" 2>/dev/null || true
	wait "$pid" 2>/dev/null || code=$?
	pid=''
	[[ $code -eq 0 ]] && return 0
	if [[ $code -ne 137 ]]; then
		echo "kill.sh: '$*' ended with $code:" >&2
		tail -n 20 "$dir/out" >&2
		keep=yes
		echo "kill.sh: left in $dir" >&2
		exit 1
	fi
	return 1
}

same() { # what, wanted folder, found folder
	if ! diff -r "$2/topics" "$3/topics" >"$dir/diff" 2>&1 ||
		! diff <("$dump" "$topology" "$2") <("$dump" "$topology" "$3") >"$dir/diff" 2>&1; then
		echo "kill.sh: $1: the data folder differs from the uninterrupted one (seed $seed):" >&2
		head -n 20 "$dir/diff" >&2
		keep=yes
		echo "kill.sh: left in $dir: $2 and $3" >&2
		exit 1
	fi
}

echo "kill.sh: seed $seed, $pairs pairs, $kills kills"
"$sample" --pairs 2500 --seed 3 --gold-share 0.3 -o "$dir/first" >/dev/null
"$sample" --pairs "$pairs" --seed "$((seed + 100))" --gold-share 0.1 -o "$dir/second" >/dev/null

# -- ingest ---------------------------------------------------------------------------
began=$(now_ms)
ingest "$dir/ingest-wanted" "$dir/second/raw.jsonl" >/dev/null 2>&1
span=$(($(now_ms) - began + 1))
lives=0 done_=0 least=$((kills * 3 / 10))
while [[ $lives -lt $least ]]; do
	rm -rf "$dir/ingest"
	until killed_within "$span" "$sluice" ingest -t "$topology" --data "$dir/ingest" --time 2026-01-01T00:00:00Z \
		"$dir/second/raw.jsonl"; do
		lives=$((lives + 1))
	done
	same "ingest after $lives kills" "$dir/ingest-wanted" "$dir/ingest"
	done_=$((done_ + 1))
done
echo "kill.sh: ingest: $lives kills within $span ms each, $done_ folders, all the same"

# -- run --------------------------------------------------------------------------------
ingest "$dir/base" --gold "$dir/first/gold.jsonl" >/dev/null 2>&1
ingest "$dir/base" "$dir/first/raw.jsonl" >/dev/null 2>&1
"$sluice" run -t "$topology" --data "$dir/base" --until-idle >"$dir/out" 2>&1
# New gold pairs too: a frozen run writes them to the table and must not look at them, restarted or not.
ingest "$dir/base" --gold "$dir/second/gold.jsonl" >/dev/null 2>&1
ingest "$dir/base" "$dir/second/raw.jsonl" >/dev/null 2>&1

cp -a "$dir/base" "$dir/wanted"
began=$(now_ms)
"$sluice" run -t "$topology" --data "$dir/wanted" --until-idle --freeze >"$dir/out" 2>&1
span=$(($(now_ms) - began + 1))

batches() { # size
	local step
	for step in dedupe embed score retrieve annotate filter; do
		printf -- '--set\n%s.batch_max=%s\n' "$step" "$1"
	done
}

lives=0 done_=0
while [[ $lives -lt $kills ]]; do
	rm -rf "$dir/killed"
	cp -a "$dir/base" "$dir/killed"
	options=()
	case $((done_ % 4)) in
	1) mapfile -t options < <(batches 7; printf -- '--threads\n1\n') ;;
	2) mapfile -t options < <(batches 1000; printf -- '--threads\n4\n') ;;
	3) mapfile -t options < <(batches 64; printf -- '--set\nstream.commit_every=5ms\n') ;;
	esac
	here=0
	until killed_within "$span" "$sluice" run -t "$topology" --data "$dir/killed" --until-idle --freeze "${options[@]}"; do
		lives=$((lives + 1)) here=$((here + 1))
	done
	same "run after $here kills with ${options[*]:-no options}" "$dir/wanted" "$dir/killed"
	done_=$((done_ + 1))
done
echo "kill.sh: run: $lives kills within $span ms each, $done_ folders, all the same"

# -- run with training --------------------------------------------------------------------
sed -e 's/^metrics:.*/metrics: off/' topology/curate.yaml >"$dir/whole.yaml"
fill() { # anew
	rm -rf "$dir/trained"
	"$sluice" ingest -t "$dir/whole.yaml" --data "$dir/trained" --gold "$dir/first/gold.jsonl" >/dev/null 2>&1
	"$sluice" ingest -t "$dir/whole.yaml" --data "$dir/trained" "$dir/first/raw.jsonl" >/dev/null 2>&1
}
fill
# A training that is killed begins again: lives must be long enough for one.
began=$(now_ms)
"$sluice" run -t "$dir/whole.yaml" --data "$dir/trained" --until-idle >"$dir/out" 2>&1
span=$(($(now_ms) - began + 1))
lives=0 done_=0 least=$((kills * 3 / 10))
while [[ $lives -lt $least ]]; do
	fill
	until killed_within "$span" "$sluice" run -t "$dir/whole.yaml" --data "$dir/trained" --until-idle; do
		lives=$((lives + 1))
	done
	"$dump" "$dir/whole.yaml" "$dir/trained" >"$dir/dump"
	if ! awk '
		$1 == "topic" { n[$2]++ }
		function adds_up(from, to,   i, count, names, sum) {
			count = split(to, names, " ")
			for (i = 1; i <= count; i++) sum += n[names[i]]
			if (n[from] != sum || sum == 0) { printf "%s: %d records, %d behind it\n", from, n[from], sum; bad = 1 }
		}
		END {
			adds_up("pairs.raw", "pairs.unique pairs.duplicate pairs.conflict pairs.contaminated dead.dedupe")
			adds_up("pairs.unique", "pairs.embedded pairs.gold dead.embed")
			adds_up("pairs.embedded", "pairs.scored dead.score")
			adds_up("pairs.scored", "pairs.retrieved dead.retrieve")
			adds_up("pairs.retrieved", "pairs.judged dead.annotate")
			adds_up("pairs.judged", "pairs.curated pairs.flipped pairs.undecided pairs.discarded dead.filter")
			exit bad
		}' "$dir/dump" >&2; then
		echo "kill.sh: with training: the counts do not add up; left in $dir" >&2
		keep=yes
		exit 1
	fi
	done_=$((done_ + 1))
done
echo "kill.sh: run with training: $lives kills within $span ms each, $done_ folders, all counts add up"
