#!/usr/bin/env bash
# equal.sh -- the same topology, on the embedded stream and on Kafka, ends the same.
#
#     tests/kafka/equal.sh [--build DIR] [--pairs N] [--seed N] [--keep]
#
# Models are trained once. Then every stream gets these, is frozen, and curates the same pairs: embedded with 1 and 4
# partitions, Kafka with 1 and 4 partitions in 1 and 3 processes. Every topic must hold the same records, byte for byte,
# each as often (with equally many partitions, for gold pairs are numbered in each); `status` must count the same, `explain` tell the same lives; with equally many partitions the
# stores must be equal too. Brokers: those of KAFKA_BOOTSTRAP, else one of its own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

build=.build/release pairs=1500 seed=1 keep=no
while [[ $# -gt 0 ]]; do
	case $1 in
	--build | --pairs | --seed)
		[[ $# -ge 2 ]] || { echo "equal.sh: $1 needs a value" >&2; exit 2; }
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
dir=$(mktemp -d "${TMPDIR:-/tmp}/sluice-equal-XXXXXX")
# shellcheck source=tests/kafka/chain.sh
source tests/kafka/chain.sh
leave() {
	[[ ! -e $dir/brokers ]] || bash tests/kafka/broker.sh stop "$dir/brokers"
	[[ $keep == yes ]] || rm -rf "$dir"
}
trap leave EXIT
tools

bootstrap=${KAFKA_BOOTSTRAP:-}
[[ -n $bootstrap ]] || brokers 1
prepare 2500 "$pairs"

now_ms() { date +%s%3N; }

# curate NAME PROCESSES: the given models and gold, the input, a frozen run; then NAME.out is a process that has it all.
curate() {
	local began p pids=()
	given "$1"
	began=$(now_ms)
	tried ingest "$1" --gold "$dir/second/gold.jsonl"
	tried ingest "$1" "$dir/second/raw.jsonl"
	for ((p = 1; p <= $2; p++)); do
		"$sluice" run -t "$dir/$1.yaml" --data "$dir/$1.$p" --until-idle --freeze >"$dir/$1.$p.log" 2>&1 &
		pids+=($!)
	done
	for p in "${!pids[@]}"; do
		wait "${pids[p]}" || { tail -n 20 "$dir/$1.$((p + 1)).log" >&2; wrong "$1: run failed"; }
	done
	took=$(($(now_ms) - began))
}

for partitions in 1 4; do
	name=embedded$partitions
	topology "$name" "$partitions" '{ kind: embedded }'
	mkdir "$dir/$name"
	ln -s "$name" "$dir/$name.1" # one data folder for all commands
	ln -s "$name" "$dir/$name.ingest"
	curate "$name" 1
	outcome "$name" "$dir/$name"
	echo "equal.sh: embedded, $partitions partitions: $took ms"
done
# The place of a gold pair in the table is counted per partition: so only its key must be there.
for name in embedded1 embedded4; do
	topology "$name.any" 1 '{ kind: embedded }'
	cp "$dir/$name.status" "$dir/$name.any.status"
	sed '/^pairs.gold /s/ [0-9]* [0-9a-f]* $//' "$dir/$name.records" >"$dir/$name.any.records"
done
same "embedded with 4 partitions" embedded1.any "$dir/embedded1" embedded4.any "$dir/embedded4"
for topic in pairs.curated pairs.flipped pairs.discarded pairs.duplicate pairs.conflict pairs.contaminated \
	pairs.silver pairs.gold dead.ingest dead.dedupe; do
	grep -q "^$topic " "$dir/embedded1.records" || wrong "the input leaves '$topic' empty, so it tells nothing about it"
done

# A kept, a flipped, a discarded pair, a copy and a gold one.
ids=() turn=0
for topic in pairs.curated pairs.flipped pairs.discarded pairs.duplicate pairs.gold; do
	ids+=("$(awk -v topic="$topic" '$1 == topic { print $2; exit }' "$dir/embedded1.records")")
done

for partitions in 1 4; do
	for processes in 1 3; do
		name=kafka$partitions-$processes
		topology "$name" "$partitions" "{ kind: kafka, brokers: '$bootstrap', prefix: ${dir##*-}.$partitions.$processes. }"
		curate "$name" "$processes"
		# A fresh folder: what it has is restored from the brokers.
		tried "$sluice" run -t "$dir/$name.yaml" --data "$dir/$name.fresh" --until-idle --freeze
		outcome "$name" "$dir/$name.fresh"
		same "$name" "embedded$partitions" "$dir/embedded$partitions" "$name" "$dir/$name.fresh"
		same_store "$name" "embedded$partitions" "$name"
		# Another one each time: explain reads all topics.
		id=${ids[turn++ % ${#ids[@]}]}
		diff <(explain embedded1 "$dir/embedded1" "$id") <(explain "$name" "$dir/$name.fresh" "$id") >&2 ||
			wrong "$name: explain $id tells another life; left in $dir"
		echo "equal.sh: Kafka, $partitions partitions, $processes processes: $took ms; the same"
	done
done
wc -l <"$dir/embedded1.records" | sed 's/^/equal.sh: records in all topics, each byte for byte: /'
