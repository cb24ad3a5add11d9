#!/usr/bin/env bash
# kafka.sh -- what the Kafka stream costs: the whole chain on it and on the embedded one, the way of single pairs,
# and how fast state comes back, each beside what plain librdkafka does on this machine in the same run.
#
#     tests/bench/kafka.sh                 build, start a broker, measure all: some 3 GB on disk
#     tests/bench/kafka.sh --build DIR     use the binaries in DIR as they are
#     tests/bench/kafka.sh --part throughput | latency | restore      (repeatable; default: all)
#     tests/bench/kafka.sh --pairs N --gold N --seed N --out DIR
#     tests/bench/kafka.sh --partitions '1 4'    of the topics behind dedupe; default 1 and 4
#     tests/bench/kafka.sh --rate N --seconds N  of the pairs whose way is timed
#     tests/bench/kafka.sh --restore-pairs N
#
# One broker of its own (tests/kafka/broker.sh) on this machine, which takes its share of the cores; one process of
# ours; commits every 100 ms. Input as in pipeline.sh: distinct generated pairs (mean 2.3 KB a line) and 5,000 gold
# ones. Models are trained once, on the embedded stream, and given to all; runs are frozen.
#
# throughput   the pairs lie in pairs.raw when the clock starts; every edge is a stored topic. The clock stops when
#              run --freeze --until-idle has ended. How long the same command takes when there is nothing to do
#              (groups meet, the end is noticed) is measured behind it, and pairs/s are given with and without it.
#              CPU is user and system, of our process and of the broker's. All variants must have decided alike.
#     embedded       segment files, synced
#     transactions   Kafka as it is
#     without        bench_sluice_plain: idempotent producer, flush, offsets committed. Not exactly once, and no
#                    switch of the product
#     the limit      bench_kafka_loop: six plain consume-produce loops at once copy what the run with transactions left
#                    in the six topics that steps read, all bytes and headers, committing as often. Nothing is done to
#                    a record, no state is logged, and no hop waits for the one before
# latency      pairs arrive at a steady rate and are read in the final topics (bench_latency says what is counted)
# restore      a topology with dedupe alone sees small distinct pairs; its data folder is removed, a new pair put in, and
#              a process started. Beside it a plain consumer writes the same changelog into RocksDB, before and after
#
# Prints tables and judges nothing but that everything has come out.
# Exit 77 where no broker can be had.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

build='' out='' parts='' pairs=60000 gold=5000 seed=11 partitions='1 4' rate=100 seconds=60 restore_pairs=1000000
readonly WARM=5000 LATENCY_WARM=5

die() {
	printf 'kafka.sh: %s\n' "$*" >&2
	exit 1
}

while [[ $# -gt 0 ]]; do
	case $1 in
	--build | --out | --part | --pairs | --gold | --seed | --partitions | --rate | --seconds | --restore-pairs)
		[[ $# -gt 1 ]] || die "'$1' needs a value"
		case $1 in
		--build) build=$2 ;;
		--out) out=$2 ;;
		--part)
			[[ $2 =~ ^(throughput|latency|restore)$ ]] || die "unknown part '$2'; known: throughput, latency, restore"
			parts+=" $2"
			;;
		--pairs) pairs=$2 ;;
		--gold) gold=$2 ;;
		--seed) seed=$2 ;;
		--partitions) partitions=$2 ;;
		--rate) rate=$2 ;;
		--seconds) seconds=$2 ;;
		--restore-pairs) restore_pairs=$2 ;;
		esac
		shift
		;;
	-h | --help)
		sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}"
		exit 0
		;;
	*) die "unknown option '$1'; --help lists them" ;;
	esac
	shift
done
[[ -n $parts ]] || parts='throughput latency restore'

if [[ -z $build ]]; then
	build=.build/release
	bash docker/setup.sh --kafka
	cmake --preset release >/dev/null
	cmake --build --preset release --target sluice sluice-sample sluice-copy bench_sluice_plain bench_kafka_loop \
		bench_kafka_restore bench_latency
fi
if [[ -z $out ]]; then
	dir=$(mktemp -d "${TMPDIR:-/tmp}/sluice-kafka-XXXXXX")
else
	mkdir -p "$out"
	dir=$(realpath "$out")
fi
keep=no children=()
# shellcheck source=tests/kafka/chain.sh
source tests/kafka/chain.sh
bench=$build/tests/bench
plain=$bench/bench_sluice_plain
for program in "$sluice" "$sample" "$copy" "$plain" "$bench"/bench_{kafka_loop,kafka_restore,latency}; do
	[[ -x $program ]] || die "'$program' is not there: build it first"
done
leave() {
	local pid
	for pid in "${children[@]}"; do
		kill "$pid" 2>/dev/null || true
	done
	[[ ! -e $dir/brokers ]] || bash tests/kafka/broker.sh stop "$dir/brokers"
	[[ $keep == yes || -n $out ]] || rm -rf "$dir"
}
trap leave EXIT

now_ms() {
	date +%s%3N
}

printf '== machine\n'
printf 'cpu        %s, %s cores online\n' "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)" "$(nproc)"
printf 'memory     %s\n' "$(awk '/^MemTotal/ { printf "%.1f GiB", $2 / 1048576 }' /proc/meminfo)"
printf 'kernel     %s\n' "$(uname -sr)"
printf 'disk       %s of %s\n' "$(df --output=fstype "$dir" | tail -1)" "$dir"
printf 'load       %s (1, 5 and 15 minutes, before anything here)\n' "$(cut -d' ' -f1-3 /proc/loadavg)"
printf 'commit     %s%s\n' "$(git rev-parse --short HEAD 2>/dev/null || echo unknown)" \
	"$([[ -z $(git status --porcelain 2>/dev/null) ]] || echo ', with changes')"
brokers 1
printf 'broker     Kafka %s, one node, heap of %s MB\n' "$KAFKA_VERSION" "$KAFKA_HEAP_MB"

# on_kafka PREFIX: a stream for the function topology.
on_kafka() {
	printf "{ kind: kafka, brokers: '%s', prefix: %s., commit_every: 100ms }" "$bootstrap" "$1"
}

forget() { # PREFIX: its topics on the broker
	tried bash tests/kafka/broker.sh tool "$dir/brokers" org.apache.kafka.tools.TopicCommand --delete --topic "$1\\..*"
}

# The chain, every edge kept; pairs to measure with, and models.
inputs() {
	local topic
	printf '\n== input\n'
	{
		sed -e 's/^metrics:.*/metrics: off/' -e '/^data:/d' -e 's/^partitions:.*/partitions: PARTITIONS/' \
			-e '/^stream:/,/^$/d' topology/curate.yaml
		printf 'models: { dir: %s }\ntopics:\n' "$dir/models"
		for topic in unique embedded scored retrieved judged; do
			printf '  pairs.%s: { retention: keep }\n' "$topic"
		done
	} >"$dir/chain.yaml"
	distinct "$dir/sample" "$seed" "$pairs" "$gold"
	pairs=$(wc -l <"$dir/sample/raw.jsonl") # the share of gold is drawn by chance
	distinct "$dir/warm" $((seed + 1)) "$WARM" 1
	topology trained 1 '{ kind: embedded }'
	tried ingest_to trained --gold "$dir/sample/gold.jsonl"
	tried ingest_to trained "$dir/warm/raw.jsonl"
	tried "$sluice" run -t "$dir/trained.yaml" --data "$dir/trained" --until-idle
	jq -r '"raw pairs \(.["raw.jsonl"].lines), gold pairs \(.["gold.jsonl"].lines), mean line \(.mean_line_bytes) bytes"' \
		"$dir/sample/summary.json"
}

distinct() { # DIR SEED RAW GOLD
	tried "$sample" --pairs $(($3 + $4)) --gold-share "$(jq -n "$4 / ($3 + $4)")" --seed "$2" --duplicates 0 --near 0 \
		--conflicts 0 --contaminated 0 --broken 0 -o "$1"
}

ingest_to() { # NAME ARGUMENT...
	local name=$1
	shift
	"$sluice" ingest -t "$dir/$name.yaml" --data "$dir/$name" --time "$TIME" "$@"
}

# -- throughput

broker_cpu_ms() {
	awk -v hz="$(getconf CLK_TCK)" '{ sub(/^.*\) /, ""); print int(($12 + $13) * 1000 / hz) }' "/proc/$KAFKA_PID_1/stat"
}

# run_to_end PROGRAM NAME TO.json: its status with the wall time in it.
run_to_end() {
	local began
	began=$(now_ms)
	"$1" run -t "$dir/$2.yaml" --data "$dir/$2" --until-idle --freeze --json >"$3.part" 2>"$3.log" || {
		tail -n 20 "$3.log" >&2
		wrong "'run' on $2 failed (above)"
	}
	jq --argjson wall_ms $(($(now_ms) - began)) '. + { wall_ms: $wall_ms }' "$3.part" >"$3"
}

decisions() { # STATUS.json: what every step made of the pairs
	jq -c '[.steps[] | { name, dead, ports: [.ports[] | { port, out }] }]' "$1"
}

measure() { # TITLE NAME PROGRAM
	local to=$dir/$2.json broker
	given "$2"
	tried ingest_to "$2" "$dir/sample/raw.jsonl"
	broker=$(broker_cpu_ms)
	run_to_end "$3" "$2" "$to"
	broker=$(($(broker_cpu_ms) - broker))
	run_to_end "$3" "$2" "$dir/$2.again.json"
	jq -rn --arg title "$1" --argjson n "$pairs" --argjson broker "$broker" --slurpfile a "$to" --slurpfile b "$dir/$2.again.json" '
		def r(d): . * pow(10; d) | round / pow(10; d);
		$a[0] as $a | $b[0] as $b | $a.process as $p |
		[$title, ($a.wall_ms / 1000 | r(1)), ($b.wall_ms / 1000 | r(1)), ($n / $a.wall_ms * 1000 | r(0)),
		 ($n / ([$a.wall_ms - $b.wall_ms, 1] | max) * 1000 | r(0)), ($p.cpu_ns / 1000 / $n | r(0)), ($broker * 1000 / $n | r(0)),
		 ($p.rss_peak_bytes / 1048576 | r(0)), $p.commits, ($p.commit_ns / 1e6 / $p.commits | r(1))] | @tsv' |
		awk -F'\t' '{ printf "%-14s %8.1f %9.1f %9d %12d %10d %10d %9d %9d %9.1f\n", $1, $2, $3, $4, $5, $6, $7, $8, $9, $10 }'
	if [[ $(decisions "$to") != "$(decisions "$dir/$embedded.json")" ]]; then
		wrong "$1 decided otherwise than embedded"
	fi
	if [[ $(jq '[.steps[] | select(.name == "filter").ports[].out] | add' "$to") -lt $((pairs * 9 / 10)) ]]; then
		wrong "fewer than 90 % of the pairs reached filter: this is not the work that the figures are about"
	fi
}

throughput() { # PARTITIONS
	local broker
	embedded=embedded$1
	printf '\n== throughput, %s partition(s)\n' "$1"
	printf '%-14s %8s %9s %9s %12s %10s %10s %9s %9s %9s\n' '' seconds 'an empty' pairs/s 'pairs/s less' 'CPU us' 'broker us' \
		peak commits 'ms each'
	printf '%-14s %8s %9s %9s %12s %10s %10s %9s\n' '' '' 'run, s' '' 'an empty run' 'a pair' 'a pair' MiB
	topology "embedded$1" "$1" '{ kind: embedded, commit_every: 100ms }'
	topology "exact$1" "$1" "$(on_kafka "exact$1")"
	topology "plain$1" "$1" "$(on_kafka "plain$1")"
	topology "limit$1" "$1" "$(on_kafka "limit$1")"
	measure embedded "embedded$1" "$sluice"
	measure transactions "exact$1" "$sluice"
	measure without "plain$1" "$plain"
	given "limit$1" # makes the topics
	printf 'the limit: six plain loops; the last line counts pairs, and the bytes of all six\n'
	broker=$(broker_cpu_ms)
	"$bench/bench_kafka_loop" "$dir/exact$1.yaml" "$dir/limit$1.yaml" pairs.{raw,unique,embedded,scored,retrieved,judged} |
		sed 's/^/  /'
	printf '  CPU of the broker, a pair: %s us\n' "$(jq -n "($(broker_cpu_ms) - $broker) * 1000 / $pairs | round")"
	forget "exact$1"
	forget "plain$1"
	forget "limit$1"
	rm -rf "$dir/embedded$1" "$dir/exact$1" "$dir/plain$1" "$dir/limit$1"
}

# -- latency

way() { # TITLE NAME PARTITIONS STREAM PROGRAM
	local pid figures
	topology "$2" "$3" "$4"
	given "$2"
	"$5" run -t "$dir/$2.yaml" --data "$dir/$2" --freeze >"$dir/$2.log" 2>&1 &
	pid=$!
	children+=("$pid")
	until [[ -S $dir/$2/sluice.sock ]]; do
		kill -0 "$pid" 2>/dev/null || { tail -n 20 "$dir/$2.log" >&2; wrong "'run' on $2 ended"; }
		sleep 0.1
	done
	figures=$("$bench/bench_latency" "$dir/$2.yaml" "$dir/$2" "$dir/sample/raw.jsonl" --rate "$rate" --seconds "$seconds" \
		--warm "$LATENCY_WARM") || wrong "the way of pairs on $2 cannot be measured"
	kill -TERM "$pid"
	wait "$pid" || { tail -n 20 "$dir/$2.log" >&2; wrong "'run' on $2 failed"; }
	printf '%-14s %s\n' "$1" "$figures"
	rm -rf "${dir:?}/$2"
}

latency() {
	local most=${partitions##* }
	printf '\n== latency from arrival to a final topic, six steps, %s partition(s)\n' "$most"
	if [[ $pairs -lt $((rate * (seconds + LATENCY_WARM))) ]]; then
		die "--rate $rate for --seconds $seconds needs more --pairs"
	fi
	way embedded way-embedded "$most" '{ kind: embedded, commit_every: 100ms }' "$sluice"
	way transactions way-exact "$most" "$(on_kafka way-exact)" "$sluice"
	way without way-plain "$most" "$(on_kafka way-plain)" "$plain"
	forget way-exact
	forget way-plain
}

# -- restore

small_pairs() { # COUNT SEED: distinct, some 350 bytes a line
	awk -v n="$1" -v seed="$2" 'function words(k,  s) {
			s = vocabulary[int(rand() * 4096)]
			while (--k > 0)
				s = s " " vocabulary[int(rand() * 4096)]
			return s
		}
		BEGIN {
			srand(seed)
			for (i = 0; i < 4096; i++)
				vocabulary[i] = substr("bcdfghjklmnprstv", i % 16 + 1, 1) substr("aeiouy", int(i / 16) % 6 + 1, 1) \
					substr("bdfgklmnprst", int(i / 96) % 12 + 1, 1) int(i / 1152)
			for (i = 0; i < n; i++)
				printf "{\"prompt\":\"%s %d\",\"chosen\":\"%s\",\"rejected\":\"%s\"}\n", words(15), i, words(20), words(20)
		}'
}

plain_copy() {
	rm -rf "$dir/copied"
	"$bench/bench_kafka_restore" copy "$dir/restore.yaml" dedupe "$dir/copied" || wrong "the changelog cannot be copied"
	rm -rf "$dir/copied"
}

restore() {
	local began first pid reader
	printf '\n== restore of the state of dedupe\n'
	cat >"$dir/restore.yaml" <<-END
		topology: restore
		partitions: 1
		metrics: off
		steps:
		  - name: dedupe
		    from: pairs.raw
		    to: { unique: pairs.unique, duplicate: pairs.other, conflict: pairs.other, contaminated: pairs.other }
		stream: $(on_kafka restore)
	END
	began=$(now_ms)
	small_pairs "$restore_pairs" "$seed" | tried ingest_to restore -
	printf 'ingest of %s pairs      %s s\n' "$restore_pairs" "$(jq -n "($(now_ms) - $began) / 1000")"
	began=$(now_ms)
	tried "$sluice" run -t "$dir/restore.yaml" --data "$dir/restore" --until-idle
	printf 'dedupe of them          %s s\n' "$(jq -n "($(now_ms) - $began) / 1000")"
	printf 'local state             %s\n' "$(du -sm "$dir/restore" | awk '{ print $1 " MB in RocksDB" }')"
	printf 'a plain consumer        %s\n' "$(plain_copy)"

	rm -rf "$dir/restore"
	"$bench/bench_kafka_restore" first "$dir/restore.yaml" pairs.unique >"$dir/first" &
	reader=$!
	children+=("$reader")
	until grep -qs ready "$dir/first"; do
		kill -0 "$reader" || wrong "nobody waits for the first record"
		sleep 0.1
	done
	# from another folder: what is measured begins with none
	small_pairs 1 $((seed + 1)) >"$dir/one.jsonl"
	tried "$sluice" ingest -t "$dir/restore.yaml" --data "$dir/restore.ingest" --source new "$dir/one.jsonl"
	began=$(now_ms)
	"$sluice" run -t "$dir/restore.yaml" --data "$dir/restore" --json >"$dir/restored.json" 2>"$dir/restored.log" &
	pid=$!
	children+=("$pid")
	while kill -0 "$reader" 2>/dev/null; do
		kill -0 "$pid" 2>/dev/null || { tail -n 20 "$dir/restored.log" >&2; wrong "the restoring process ended"; }
		sleep 0.1
	done
	wait "$reader" || wrong "the first record did not come"
	first=$(tail -n 1 "$dir/first")
	kill -TERM "$pid"
	wait "$pid" || { tail -n 20 "$dir/restored.log" >&2; wrong "the restoring process failed"; }
	jq -r '.stream.restore | "restore                 \(.records) records \(.bytes / 1e5 | round / 10) MB \(.seconds * 100 | round / 100) s " +
		"\(.records / .seconds | round) records/s \(.bytes / 1e5 / .seconds | round / 10) MB/s"' "$dir/restored.json"
	printf 'a plain consumer        %s\n' "$(plain_copy)"
	printf 'time to first record    %s s from the start of the process: the restore, the index over the rows, one commit\n' \
		"$(jq -n "($first - $began) / 1000")"
	if [[ $(jq '.steps[] | select(.name == "dedupe").ports[] | select(.port == "unique").out' "$dir/restored.json") -ne \
		$((restore_pairs + 1)) ]]; then
		wrong "not all pairs of the input are different ones"
	fi
	forget restore
	rm -rf "$dir/restore" "$dir/restore.ingest"
}

if [[ $parts == *throughput* || $parts == *latency* ]]; then
	inputs
fi
for part in throughput latency restore; do
	[[ " $parts " == *" $part "* ]] || continue
	if [[ $part == throughput ]]; then
		for count in $partitions; do
			throughput "$count"
		done
	else
		"$part"
	fi
done
