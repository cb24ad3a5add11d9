#!/usr/bin/env bash
# real.sh -- real human preference data through the whole chain; every pair is accounted for.
#
#     tests/real.sh                     every human-labelled set of ../shared/data
#     tests/real.sh --quick             the small sets only: seconds (CTest: real)
#     tests/real.sh --build DIR         use the binaries in DIR as they are
#     tests/real.sh --out DIR           keep the data folder and the exports in DIR
#
# A seeded fifth of the lines of each file is ingested as gold, the rest as raw pairs, with
# the prompts of the benchmarks there as contamination. Most is ingested while `sluice run` runs;
# status, export and explain are asked for meanwhile, and SIGTERM must end it with 0. Then
# `run --until-idle` finishes, and the counts must add up exactly: lines read, what each step took
# in and sent out, the ends, the topics, and the lines of the exported files.
# Exit codes: 0 all adds up, 1 not, 77 skipped because ../shared/data is absent.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly DATA=../shared/data
build='' out='' quick=no runner=''

die() {
	printf 'real.sh: %s\n' "$*" >&2
	exit 1
}

while [[ $# -gt 0 ]]; do
	case $1 in
	--quick) quick=yes ;;
	--build | --out)
		[[ $# -gt 1 ]] || die "'$1' needs a value"
		if [[ $1 == --build ]]; then build=$2; else out=$2; fi
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

if [[ ! -d $DATA ]]; then
	printf 'skipped: real.sh needs the data sets in %s\n' "$DATA"
	exit 77
fi
if [[ -z $build ]]; then
	build=.build/release
	bash docker/setup.sh
	cmake --preset release >/dev/null
	cmake --build --preset release --target sluice sluice-sample
fi
readonly SLUICE=$build/sluice SAMPLE=$build/tests/data/sluice-sample

clean() {
	if [[ -n $runner ]]; then
		kill -KILL "$runner" 2>/dev/null || true
	fi
	if [[ -n $temporary ]]; then
		rm -rf "$temporary"
	fi
}
temporary=''
if [[ -z $out ]]; then
	temporary=$(mktemp -d "${TMPDIR:-/tmp}/sluice-real-XXXXXX")
	out=$temporary
else
	mkdir -p "$out"
	[[ -z $(ls -A "$out") ]] || die "--out '$out' is not empty: give a new folder"
fi
trap clean EXIT

if [[ $quick == yes ]]; then
	files=("$DATA"/{llmbar,mt-bench-human,pandalm,hhh-alignment,rankgen,contrastive-search,oasst,mslr-pairwise,evalbiasbench}.dev.jsonl.gz)
	benchmarks=("$DATA"/benchmarks/{CodePrefBench,HumanEvalPack}/pairs.jsonl.gz)
else
	files=("$DATA"/hh-rlhf.upstream-test.jsonl.gz "$DATA"/*.dev.jsonl.gz)
	benchmarks=("$DATA"/benchmarks/*/pairs.jsonl.gz)
fi
list=''
for file in "${benchmarks[@]}"; do
	list+=${list:+,}$(realpath "$file")
done
readonly CHAIN=(-t topology/curate.yaml --data "$out/data" --set metrics.listen=off --set "dedupe.benchmarks=$list")

for file in "${files[@]}"; do
	name=$(basename "$file")
	name=${name%%.*}
	"$SAMPLE" flip --share 0 --gold-share 0.2 --gold-by line --seed 1 -o "$out/sets/$name" "$file" >/dev/null
done

# -- while it runs

"$SLUICE" ingest "${CHAIN[@]}" --gold "$out"/sets/*/gold.jsonl >"$out/ingest.log" 2>&1 ||
	die "$(cat "$out/ingest.log")"
"$SLUICE" run "${CHAIN[@]}" >"$out/run.txt" 2>"$out/run.log" &
runner=$!

# wait_for PROGRAM: until jq's PROGRAM is true of the status.
wait_for() {
	local tries
	for ((tries = 0; tries < 20000; tries++)); do
		kill -0 "$runner" 2>/dev/null || die "'run' ended too early: $(cat "$out/run.log")"
		if "$SLUICE" status "${CHAIN[@]}" --json 2>/dev/null | jq -e "$1" >/dev/null 2>&1; then
			return
		fi
	done
	die "the status never came to $1"
}
wait_for '.running'
"$SLUICE" ingest "${CHAIN[@]}" "$out"/sets/*/raw.jsonl >>"$out/ingest.log" 2>&1 || die "$(cat "$out/ingest.log")"
wait_for '[.steps[] | select(.name == "filter") | .ports[].out] | add > 0'
"$SLUICE" export "${CHAIN[@]}" --topic pairs.unique --limit 20 --format full -o "$out/early.jsonl" 2>>"$out/run.log"
[[ $(wc -l <"$out/early.jsonl") -eq 20 ]] || die "export while it ran wrote $(wc -l <"$out/early.jsonl") lines, expected 20"
id=$(head -1 "$out/early.jsonl" | jq -r .id)
"$SLUICE" explain "${CHAIN[@]}" "$id" >"$out/explain.txt" || die "explain '$id' failed while it ran"
grep -q dedupe "$out/explain.txt" || die "explain '$id' does not tell of dedupe: $(cat "$out/explain.txt")"
"$SLUICE" status "${CHAIN[@]}" --json | jq -e .running >/dev/null || die "'run' was gone before it was told to end"
kill -TERM "$runner"
ended=0
wait "$runner" || ended=$?
runner=''
[[ $ended -eq 0 ]] || die "SIGTERM ended 'run' with $ended, expected 0: $(cat "$out/run.log")"

# -- to the end

begun=$SECONDS
"$SLUICE" run "${CHAIN[@]}" --until-idle >>"$out/run.txt" 2>>"$out/run.log" || die "$(tail -3 "$out/run.log")"
printf 'ingest, status, export and explain worked while it ran; SIGTERM ended it with 0; the rest took %d s\n' \
	$((SECONDS - begun))
"$SLUICE" status "${CHAIN[@]}" --json >"$out/status.json"

status() {
	jq -r "def step(s): .steps[] | select(.name == s);
		def port(s; p): [step(s).ports[] | select(.port == p).out] | add // 0; $1" "$out/status.json"
}

failures=0
# equal NAME LEFT RIGHT: two counts that must be the same.
equal() {
	if [[ $2 -ne $3 ]]; then
		printf 'WRONG: %s: %d is not %d\n' "$1" "$2" "$3"
		failures=$((failures + 1))
	fi
}

sets=0 gold_lines=0
printf '\n%-26s %8s %8s\n' set raw gold
for folder in "$out"/sets/*; do
	raw=$(wc -l <"$folder/raw.jsonl") gold=$(wc -l <"$folder/gold.jsonl")
	printf '%-26s %8d %8d\n' "$(basename "$folder")" "$raw" "$gold"
	sets=$((sets + raw + gold)) gold_lines=$((gold_lines + gold))
done

pairs=$(status .ingest.pairs)
equal "lines in the files, lines ingested" "$sets" "$(status .ingest.lines)"
equal "lines, pairs + ties + invalid" "$(status .ingest.lines)" "$(status '.ingest | .pairs + .ties + .invalid')"
equal "pairs ingested, pairs that dedupe has read" "$pairs" "$(status 'step("dedupe").in')"
for step in dedupe embed score retrieve annotate filter; do
	# what annotate sends to silver is a copy
	equal "$step: in, out" "$(status "step(\"$step\").in")" \
		"$(status "step(\"$step\") | ([.ports[] | select(.port != \"silver\").out] | add) + .dead")"
	equal "$step: lag" "$(status "step(\"$step\").lag")" 0
done

printf '\n%-26s %8s %8s\n' end pairs 'of all'
sum=0
row() {
	printf '%-26s %8d %6.1f %%\n' "$1" "$2" "$(jq -n "100 * $2 / $pairs")"
	sum=$((sum + $2))
}
for end in duplicate conflict contaminated; do
	row "$end" "$(status "port(\"dedupe\"; \"$end\")")"
done
row gold "$(status 'port("embed"; "gold")')"
for end in curated flipped undecided discarded; do
	row "$end" "$(status "port(\"filter\"; \"$end\")")"
done
for step in dedupe embed score retrieve annotate filter; do
	dead=$(status "step(\"$step\").dead")
	if [[ $dead -gt 0 ]]; then
		row "dead letters of $step" "$dead"
	fi
done
printf '%-26s %8d\n' 'sum of the ends' "$sum"
printf '%-26s %8d   (and %s ties, %s lines not readable)\n' 'pairs ingested' "$pairs" "$(status .ingest.ties)" \
	"$(status .ingest.invalid)"
equal "pairs ingested, sum of the ends" "$pairs" "$sum"

# Each end as a file: as many lines as the topic has keys, all of them JSON with both answers.
for end in duplicate conflict contaminated gold curated flipped undecided discarded; do
	"$SLUICE" export "${CHAIN[@]}" --topic "pairs.$end" --format explicit -o "$out/$end.jsonl" 2>>"$out/run.log"
	lines=$(wc -l <"$out/$end.jsonl")
	equal "pairs.$end: records, lines exported" "$(status ".topics[] | select(.name == \"pairs.$end\").records")" "$lines"
	equal "pairs.$end: lines exported, lines that hold a pair" "$lines" \
		"$(jq -c 'select((.chosen | length) > 0 and (.rejected | length) > 0)' "$out/$end.jsonl" | wc -l)"
done

printf '\n'
status '.models[] | select(.report.report.accuracy) | .name as $n | .champion as $v | .report.report.accuracy |
	"model \($n) version \($v): accuracy \(.value * 1000 | round / 10) % of \(.count) gold pairs"'
[[ $failures -eq 0 ]] || die "$failures counts do not add up (above); the files are in $out"
printf 'all %d pairs are accounted for\n' "$pairs"
