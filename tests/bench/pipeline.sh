#!/usr/bin/env bash
# pipeline.sh -- how fast the whole chain curates, what a pair costs and where, and what
# this machine could do at most.
#
#     tests/bench/pipeline.sh                 build, generate, measure: about 1 GB a layout on disk
#     tests/bench/pipeline.sh --build DIR     use the binaries in DIR as they are
#     tests/bench/pipeline.sh --pairs N --gold N --seed N --out DIR
#     tests/bench/pipeline.sh --layout b      topics or inline only (a, b; default both)
#     tests/bench/pipeline.sh --no-growth     leave out the comparison of early and late pairs
#
# Input: distinct generated pairs (mean 2.3 KB a line), raw ones and gold ones. Each layout gets
# a fresh data folder:
#
#     warm-up   ingest the gold pairs and 5,000 other raw ones, run --until-idle: trains the models
#               gold and best, so the measured pairs are scored by both and judged where they differ
#     ingest    of the raw pairs, timed apart
#     run       run --freeze --until-idle, timed from the start of the process to its end: opening
#               the folder, all six steps, synced commits, closing. Models and tables stay as they
#               are and nothing is trained
#     train     run --until-idle again: what the triggers now ask for, timed apart
#
# Layouts: a, every edge a topic; b, raw > dedupe > topic (2 partitions) > the rest in one task.
# Growth: the raw pairs in four runs on one folder (layout b), so that the cost of the last
# quarter can be held against that of the first. Opening reads the rows of all pairs seen, once a
# run (dedupe rebuilds its index from them): that is shown apart. CPU is of the whole process, user and system; of a
# step, of its callbacks with what they emit and store, and of reading and decoding its input.
# Prints tables and judges nothing but the share of pairs that reach filter (at least 90 %).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

build='' out='' pairs=200000 gold=5000 seed=11 layouts='a b' growth=yes
readonly WARM=5000 INLINE=inline=pairs.embedded,pairs.scored,pairs.retrieved,pairs.judged

die() {
	printf 'pipeline.sh: %s\n' "$*" >&2
	exit 1
}

while [[ $# -gt 0 ]]; do
	case $1 in
	--no-growth) growth=no ;;
	--build | --out | --pairs | --gold | --seed | --layout)
		[[ $# -gt 1 ]] || die "'$1' needs a value"
		case $1 in
		--build) build=$2 ;;
		--out) out=$2 ;;
		--pairs) pairs=$2 ;;
		--gold) gold=$2 ;;
		--seed) seed=$2 ;;
		--layout) layouts=$2 ;;
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

if [[ -z $build ]]; then
	build=.build/release
	bash docker/setup.sh
	cmake --preset release >/dev/null
	cmake --build --preset release --target sluice sluice-sample bench_limits
fi
if [[ -z $out ]]; then
	out=$(mktemp -d "${TMPDIR:-/tmp}/sluice-pipeline-XXXXXX")
	trap 'rm -rf "$out"' EXIT
else
	mkdir -p "$out"
fi
readonly SLUICE=$build/sluice SAMPLE=$build/tests/data/sluice-sample LIMITS=$build/tests/bench/bench_limits
for program in "$SLUICE" "$SAMPLE" "$LIMITS"; do
	[[ -x $program ]] || die "'$program' is not there: build the targets sluice, sluice-sample and bench_limits"
done

now_ns() {
	date +%s%N
}

# sample DIR SEED RAW GOLD: distinct pairs only, none of them broken.
sample() {
	"$SAMPLE" --pairs $(($3 + $4)) --gold-share "$(jq -n "$4 / ($3 + $4)")" --seed "$2" --duplicates 0 --near 0 \
		--conflicts 0 --contaminated 0 --broken 0 -o "$1" >/dev/null
}

printf '== machine\n'
printf 'cpu        %s, %s cores online\n' "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)" "$(nproc)"
printf 'memory     %s\n' "$(awk '/^MemTotal/ { printf "%.1f GiB", $2 / 1048576 }' /proc/meminfo)"
printf 'kernel     %s\n' "$(uname -sr)"
printf 'disk       %s of %s\n' "$(df --output=fstype "$out" | tail -1)" "$out"
printf 'load       %s (1, 5 and 15 minutes, before anything here)\n' "$(cut -d' ' -f1-3 /proc/loadavg)"
printf 'commit     %s%s\n' "$(git rev-parse --short HEAD 2>/dev/null || echo unknown)" \
	"$([[ -z $(git status --porcelain 2>/dev/null) ]] || echo ', with changes')"

printf '\n== limits of this machine, one thread each\n'
"$LIMITS" "$out/limits"

printf '\n== input\n'
sample "$out/sample" "$seed" "$pairs" "$gold"
sample "$out/warm" $((seed + 1)) "$WARM" 1
jq -r '"raw pairs \(.["raw.jsonl"].lines), gold pairs \(.["gold.jsonl"].lines), mean line \(.mean_line_bytes) bytes"' \
	"$out/sample/summary.json"

# run DIR OUT.json [ARGUMENT...]: one run to its end; its status with the wall time in it.
run() {
	local data=$1 to=$2 began
	shift 2
	began=$(now_ns)
	"$SLUICE" run -t topology/curate.yaml --data "$data" --until-idle --json --set metrics.listen=off "$@" \
		>"$to.part" 2>"$to.log" || {
		cat "$to.log" >&2
		die "'run' failed (above)"
	}
	jq --argjson wall_ns $(($(now_ns) - began)) '. + { wall_ns: $wall_ns }' "$to.part" >"$to"
}

ingest() {
	local data=$1
	shift
	"$SLUICE" ingest -t topology/curate.yaml --data "$data" --time 2026-01-01T00:00:00Z "$@" >/dev/null 2>&1 ||
		die "'ingest $*' failed"
}

# prepare DIR [ARGUMENT...]: gold and warm-up, models trained.
prepare() {
	local data=$1
	shift
	rm -rf "$data"
	ingest "$data" --gold "$out/sample/gold.jsonl"
	ingest "$data" "$out/warm/raw.jsonl"
	run "$data" "$data.warm.json" "$@"
}

# What a run did: its counts less those that were there before it. $before and $after are status files.
readonly PROGRAM='
	def step(of; s): of.steps[] | select(.name == s);
	$before[0] as $b | $after[0] as $a |
	(step($a; "dedupe").in - step($b; "dedupe").in) as $n |
	(step($a; "filter").in - step($b; "filter").in) as $reached |
	($a.wall_ns / 1e9) as $s | $a.process as $p |
	(if $a.process.cpu_ns then $p.cpu_ns / 1000 / $n else 0 end) as $cpu |
	{ n: $n, reached: ($reached / $n), rate: ($n / $s), cpu: $cpu, seconds: $s,
	  rss: ($p.rss_peak_bytes / 1048576), written: ($p.write_bytes / $n),
	  commits: $p.commits, commit_share: ($p.commit_ns / $a.wall_ns),
	  table: [
		($a.steps[] | . as $step | { name, in: (.in - step($b; $step.name).in), cpu_ns, read_cpu_ns } |
			{ what: .name, of: .in, self: (.cpu_ns / 1000 / ([.in, 1] | max)),
			  read: (.read_cpu_ns / 1000 / ([.in, 1] | max)), all: ((.cpu_ns + .read_cpu_ns) / 1000 / $n) }),
		{ what: "opening", of: null, self: null, read: null, all: ([$a.steps[].open_cpu_ns] | add / 1000 / $n) },
		{ what: "commits", of: $p.commits, self: null, read: null, all: ($p.commit_cpu_ns / 1000 / $n) },
		{ what: "all else", of: null, self: null, read: null,
		  all: ($cpu - ($p.commit_cpu_ns + $p.training_cpu_ns + ([$a.steps[] | .open_cpu_ns + .cpu_ns + .read_cpu_ns] | add)) / 1000 / $n) } ] }'

figures() {
	jq -n --slurpfile before "$1" --slurpfile after "$2" "$PROGRAM"
}

report() {
	jq -r '
	def r(d): . as $x | if $x == null then "" else ($x * pow(10; d) | round / pow(10; d) | tostring) end;
	def pad(n): tostring | if length < n then (" " * (n - length)) + . else . end;
	def left(n): tostring | if length < n then . + (" " * (n - length)) else . end;
	"pairs               \(.n), of which \(.reached * 100 | r(1)) % reached filter",
	"run                 \(.seconds | r(1)) s: \(.rate | r(0)) pairs/s",
	"CPU                 \(.cpu | r(1)) us per pair: \(1e6 / .cpu | r(0)) pairs/s per core in use",
	"peak memory         \(.rss | r(0)) MiB",
	"written             \(.written | r(0)) bytes per pair",
	"commits             \(.commits), in progress for \(.commit_share * 100 | r(0)) % of the time",
	"",
	"  \("" | left(10)) \("in" | pad(9)) \("work" | pad(9)) \("read" | pad(9)) \("of the chain" | pad(14))   CPU us: per record in; per pair of the run",
	(.table[] | "  \(.what | left(10)) \(.of // "" | pad(9)) \(.self | r(1) | pad(9)) \(.read | r(1) | pad(9)) \(.all | r(1) | pad(14))")' "$1"
}

measure() {
	local layout=$1 title=$2 data=$out/$1 began
	shift 2
	printf '\n== layout %s: %s\n' "$layout" "$title"
	prepare "$data" "$@"
	began=$(now_ns)
	ingest "$data" "$out/sample/raw.jsonl"
	printf 'ingest              %s s\n' "$(jq -n "($(now_ns) - $began) / 1e8 | round / 10")"
	run "$data" "$data.json" --freeze "$@"
	figures "$data.warm.json" "$data.json" >"$data.figures.json"
	report "$data.figures.json"
	run "$data" "$data.train.json" "$@"
	jq -r '"training after it   \(.wall_ns / 1e8 | round / 10) s, CPU \(.process.training_cpu_ns / 1e8 | round / 10) s: " +
		([.models[] | "\(.name) version \(.champion)"] | join(", "))' "$data.train.json"
	du -sb "$data" | awk -v n="$pairs" '{ printf "on disk             %.0f bytes per pair after that\n", $1 / n }'
	if ! jq -e '.reached >= 0.9' "$data.figures.json" >/dev/null; then
		die "fewer than 90 % of the pairs reached filter: this is not the work that the figures are about"
	fi
	rm -rf "$data"
}

for layout in $layouts; do
	case $layout in
	a) measure a "every edge a topic" ;;
	b) measure b "raw > dedupe > topic > the rest inline" --set "$INLINE" ;;
	*) die "unknown layout '$layout'; known: a, b" ;;
	esac
done

if [[ $growth == yes ]]; then
	printf '\n== growth: cost by the number of pairs already seen (layout b, four runs on one folder)\n'
	data=$out/growth
	prepare "$data" --set "$INLINE"
	split -n l/4 -d "$out/sample/raw.jsonl" "$out/quarter."
	before=$data.warm.json seen=0
	printf '%10s %8s %12s %14s %12s %12s %12s %10s\n' seen pairs 'opening s' 'CPU us/pair' 'steps us' 'commits us' 'all else us' \
		'peak MiB'
	for quarter in 0 1 2 3; do
		ingest "$data" "$out/quarter.0$quarter"
		run "$data" "$data.$quarter.json" --freeze --set "$INLINE"
		figures "$before" "$data.$quarter.json" >"$data.$quarter.figures.json"
		jq -r --argjson seen "$seen" '.n as $n |
			def of(w): .table[] | select(.what == w).all;
			[$seen, $n, of("opening") * $n / 1e6, .cpu - of("opening"), .cpu - of("opening") - of("commits") - of("all else"),
			 of("commits"), of("all else"), .rss] | @tsv' "$data.$quarter.figures.json" |
			awk '{ printf "%10d %8d %12.2f %14.1f %12.1f %12.1f %12.1f %10d\n", $1, $2, $3, $4, $5, $6, $7, $8 }'
		seen=$((seen + $(jq .n "$data.$quarter.figures.json")))
		before=$data.$quarter.json
	done
	rm -rf "$data"
fi
