#!/usr/bin/env bash
# demo.sh -- from nothing to curated pairs: installs what is missing, builds,
# generates pairs whose faults are known, curates them, and tells how well it went.
#
#     tests/demo.sh                     results in a new folder under /tmp
#     tests/demo.sh --out DIR           results in DIR, which must be empty or new
#     tests/demo.sh --pairs 20000 --noise 0.3 --seed 5
#     tests/demo.sh --check             exit 1 unless the counts add up and the labels got better
#
# A minute or two on two cores, most of it the build.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

pairs=6000 seed=7 noise=0.25 out='' check=no

usage() {
	sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}"
}

die() {
	printf 'demo.sh: %s\n' "$*" >&2
	exit 1
}

misused() {
	printf 'demo.sh: %s; see --help\n' "$*" >&2
	exit 2
}

while [[ $# -gt 0 ]]; do
	case $1 in
	--check) check=yes ;;
	-h | --help)
		usage
		exit 0
		;;
	--out | --pairs | --seed | --noise)
		[[ $# -ge 2 ]] || misused "$1 needs a value"
		case $1 in
		--out) out=$2 ;;
		--pairs) pairs=$2 ;;
		--seed) seed=$2 ;;
		--noise) noise=$2 ;;
		esac
		shift
		;;
	*) misused "unknown option '$1'" ;;
	esac
	shift
done

if [[ -z $out ]]; then
	out=$(mktemp -d "${TMPDIR:-/tmp}/sluice-demo-XXXXXX")
else
	mkdir -p "$out"
	out=$(cd "$out" && pwd)
	[[ -z $(ls -A "$out") ]] || misused "--out '$out' is not empty: give a new folder"
fi

say() {
	printf '\n== %s\n' "$*"
}

# Quiet when all is well; everything it said when not.
quietly() {
	local name=$1
	shift
	"$@" >"$out/$name.log" 2>&1 || {
		cat "$out/$name.log" >&2
		die "'$*' failed (above; also in $out/$name.log)"
	}
}

say "set-up and build"
bash docker/setup.sh
quietly configure cmake --preset release
quietly build cmake --build --preset release -j "$(nproc)" --target sluice sluice-sample
readonly SLUICE=.build/release/sluice SAMPLE=.build/release/tests/data/sluice-sample
readonly CHAIN=(-t topology/curate.yaml --data "$out/data" --set metrics.listen=127.0.0.1:0)

say "generate $pairs pairs, $noise of the labels wrong"
quietly generate "$SAMPLE" --pairs "$pairs" --seed "$seed" --noise "$noise" --gold-copies 0.01 -o "$out/sample"
jq -r '"raw \(.["raw.jsonl"].lines), gold \(.["gold.jsonl"].lines), mean line \(.mean_line_bytes) bytes"' \
	"$out/sample/summary.json"

say "ingest"
"$SLUICE" ingest "${CHAIN[@]}" --gold --time 2026-01-01T00:00:00Z "$out/sample/gold.jsonl"
"$SLUICE" ingest "${CHAIN[@]}" --time 2026-01-01T00:00:00Z "$out/sample/raw.jsonl"

say "run"
begun=$SECONDS
# No metrics: their port may be taken by another run on this machine.
"$SLUICE" run "${CHAIN[@]}" --set dedupe.benchmarks="$out/sample/benchmark.jsonl" --set metrics.listen=off --until-idle
printf 'ran for %d s\n' $((SECONDS - begun))

say "status"
"$SLUICE" status "${CHAIN[@]}"
"$SLUICE" status "${CHAIN[@]}" --json >"$out/status.json"

ends=(curated flipped undecided discarded)
exported=()
for end in "${ends[@]}"; do
	exported+=("$out/$end.jsonl")
	"$SLUICE" export "${CHAIN[@]}" --topic "pairs.$end" -o "$out/$end.jsonl"
done

# A number out of the status; absent is 0.
status() {
	jq -r "def step(s): [.steps[] | select(.name == s)][0] // {};
		def port(s; p): [step(s).ports[]? | select(.port == p)][0] // {};
		def code(s; p; c): port(s; p).codes[c] // 0;
		($1) // 0" "$out/status.json"
}

lines_in() {
	wc -l <"$1"
}

row() {
	printf '  %-18s %8d   %s\n' "$1" "$2" "${3:-}"
}

lines=$(status '.ingest.lines')
bad_lines=$(status '.ingest.invalid')
bad_pairs=$(status '[.steps[].dead // 0] | add')
copies=$(status 'port("dedupe"; "duplicate").out')
near=$(status 'code("dedupe"; "duplicate"; "near-duplicate")')
conflicts=$(status 'port("dedupe"; "conflict").out')
contaminated=$(status 'port("dedupe"; "contaminated").out')
gold=$(status 'port("embed"; "gold").out')

say "funnel"
row in "$lines" "lines read"
row invalid $((bad_lines + bad_pairs)) "$bad_lines not readable, $bad_pairs with empty or equal answers"
row duplicate $((copies - near)) "seen before"
row near-duplicate "$near" "nearly the same prompt and answers as one seen before"
row conflict "$conflicts" "seen before with the label swapped"
row contaminated "$contaminated" "asks what a benchmark asks"
row gold "$gold" "verified: trains and checks the models"
sum=$((bad_lines + bad_pairs + copies + conflicts + contaminated + gold))
declare -A meaning=(
	[curated]="kept: the models (and the judge, where asked) agree with the label"
	[flipped]="kept with the label swapped (opt-in)"
	[undecided]="left for a person"
	[discarded]="no agreement"
)
for end in "${ends[@]}"; do
	n=$(lines_in "$out/$end.jsonl")
	row "$end" "$n" "${meaning[$end]}"
	sum=$((sum + n))
done
row "sum of the ends" "$sum"

say "labels against the planted truth (right: the chosen answer is the better one)"
"$SAMPLE" precision --truth "$out/sample/truth.jsonl" "$out/sample/raw.jsonl" "${exported[@]}"

say "models on gold pairs that none of them has seen"
jq -r '
	def percent: . * 1000 | round / 10;
	.models[] | select(.report.report.accuracy) | .name as $name | .champion as $version | .report.report |
	"  \($name) version \($version): accuracy \(.accuracy.value | percent) % " +
	"(\(.accuracy.low | percent) to \(.accuracy.high | percent)) on \(.accuracy.count) pairs; " +
	"the longer answer: \(.longest_wins.value | percent) %"' "$out/status.json"

say "where things are"
cat <<END
  $out/sample/     what was generated (summary.json, truth.jsonl)
  $out/data/       the data folder: streams, state, models
  $out/*.jsonl     the exported ends
  $out/status.json
Look further:
  $SLUICE explain ${CHAIN[*]} ID
  $SLUICE models ${CHAIN[*]} list
END

if [[ $check == yes ]]; then
	precision() {
		"$SAMPLE" precision --json --truth "$out/sample/truth.jsonl" "$1" | jq '.right / ((.right + .wrong) | if . == 0 then 1 else . end)'
	}
	[[ $sum -eq $lines ]] || die "$lines lines went in and $sum came out: they must be equal"
	before=$(precision "$out/sample/raw.jsonl")
	after=$(precision "$out/curated.jsonl")
	jq -en "$after > $before + 0.05" >/dev/null ||
		die "the labels of the curated pairs ($after right) are hardly better than those that came in ($before)"
	[[ $(jq '[.models[] | select(.report.report.accuracy)] | length' "$out/status.json") -gt 0 ]] || die "no model has a report"
	printf '\nchecked: all %d lines are accounted for; labels right in %.3f before, %.3f after\n' "$lines" "$before" "$after"
fi
