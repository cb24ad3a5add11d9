#!/usr/bin/env bash
# judges.sh -- real pairs with labels made wrong on purpose, curated with LLM judges of a known worth.
#
#     tests/bench/judges.sh                          the human sets of ../shared/data together
#     tests/bench/judges.sh --build DIR FILE...      other files, the binaries in DIR as they are
#
#     --share 0.3        of the labels that arrive, wrong ones
#     --gold-share 0.2   of the prompts, verified by people
#     --accuracy 0.85    how often a judge is right that has seen examples (tests/llm/server.c plants it)
#     --alone 0.75       the same without examples
#     --bias 0.15        share of questions where it takes Candidate 1 unread
#     --probes 0.05      gold pairs put to the judges beside the stream: so many per pair
#     --rules posterior,paper
#     --seed 1           of the draws: who is gold, which labels are wrong, when a judge is
#     --out DIR          keep the set, the data folders and the exports
#
# For each rule: no LLM (the gold pairs vote), one judge without examples, one with retrieved gold examples, the same
# with a quarter of the money, three judges weighed by what gold says they are worth. Then, with the models of the first
# run, the stream once asked where an answer can matter and once about every pair: what the first left out must end the
# same. Each run has a data folder of its own: ingest, run --until-idle, export; bench_judges prints the rows.
# Prices: 0.40, 0.10 (cached) and 1.60 dollars per million tokens. Exit code 77: ../shared/data is absent.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

build='' out='' share=0.3 gold=0.2 seed=1 accuracy=0.85 alone=0.75 bias=0.15 probes=0.05 rules=posterior,paper
files=() server=''

die() {
	printf 'judges.sh: %s\n' "$*" >&2
	exit 1
}

while [[ $# -gt 0 ]]; do
	case $1 in
	--build | --out | --share | --gold-share | --seed | --accuracy | --alone | --bias | --probes | --rules)
		[[ $# -gt 1 ]] || die "'$1' needs a value"
		case $1 in
		--gold-share) gold=$2 ;;
		*) printf -v "${1#--}" %s "$2" ;;
		esac
		shift
		;;
	-h | --help)
		sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}"
		exit 0
		;;
	-*) die "unknown option '$1'; --help lists them" ;;
	*) files+=("$1") ;;
	esac
	shift
done
if [[ ${#files[@]} -eq 0 ]]; then
	files=(../shared/data/*.dev.jsonl.gz)
	if [[ ! -f ${files[0]} ]]; then
		printf "skipped: judges.sh needs '%s'\n" "${files[0]}"
		exit 77
	fi
fi
if [[ -z $build ]]; then
	build=.build/release
	bash docker/setup.sh
	cmake --preset release >/dev/null
	cmake --build --preset release --target sluice sluice-sample sluice-llm bench_judges
fi
if [[ -z $out ]]; then
	out=$(mktemp -d "${TMPDIR:-/tmp}/sluice-judges-XXXXXX")
	keep=no
else
	mkdir -p "$out"
	[[ -z $(ls -A "$out") ]] || die "--out '$out' is not empty: give a new folder"
	keep=yes
fi
leave() {
	[[ -z $server ]] || kill "$server" 2>/dev/null || true
	[[ $keep == yes ]] || rm -rf "$out"
}
trap leave EXIT
readonly SLUICE=$build/sluice SAMPLE=$build/tests/data/sluice-sample LLM=$build/tests/llm/sluice-llm
readonly JUDGES=$build/tests/bench/bench_judges

# quiet NAME COMMAND...: what it says is shown only if it fails.
quiet() {
	local name=$1
	shift
	"$@" >"$out/log.out" 2>"$out/log.err" || {
		tail -n 20 "$out/log.err" >&2
		die "$name failed"
	}
}

# The chain of judged.yaml with three judges of the same server at hand.
topology() {
	sed -e '/^endpoints:/,/^prices:/d' -e '/^  gpt-4.1-mini:/d' -e '/^  Qwen/d' -e 's/^    attributes: missing.*/    attributes: off/' \
		-e '/attributes_judge:/d' -e '/^    second:/d' -e '/^    budget: /d' -e 's/judges: .first./judges: [a]/' -e "s/^    probes: .*/    probes: $probes/" \
		topology/judged.yaml
	cat <<-END
		endpoints:
		  a: { url: "\${JUDGE_URL}", key: "\${JUDGE_KEY}", model: model-a, in_flight: 64 }
		  b: { url: "\${JUDGE_URL}", key: "\${JUDGE_KEY}", model: model-b, in_flight: 64 }
		  c: { url: "\${JUDGE_URL}", key: "\${JUDGE_KEY}", model: model-c, in_flight: 64 }
		prices:
		  model-a: { prompt: 0.40, cached: 0.10, completion: 1.60 }
		  model-b: { prompt: 0.40, cached: 0.10, completion: 1.60 }
		  model-c: { prompt: 0.40, cached: 0.10, completion: 1.60 }
	END
}

exports() { # FOLDER
	local topic
	for topic in gold curated flipped undecided discarded; do
		quiet "export of $1" "$SLUICE" export -t "$file" --data "$1/data" --topic "pairs.$topic" --format full -o "$1/$topic.jsonl"
	done
}

# curate NAME OPTION...: one data folder from empty to exported. Half of the stream comes first, so that what the judges are
# worth on gold is known for the other half.
curate() {
	local name=$1 folder=$out/$1 start=$SECONDS part before
	before=$(paid)
	shift
	local chain=(-t "$file" --data "$folder/data")

	mkdir -p "$folder"
	quiet "ingest of gold, $name" "$SLUICE" ingest "${chain[@]}" --gold "$out/set/gold.jsonl"
	for part in "$out"/half.*; do
		quiet "ingest, $name" "$SLUICE" ingest "${chain[@]}" "$part"
		quiet "run, $name" "$SLUICE" run "${chain[@]}" --until-idle "$@"
	done
	exports "$folder"
	quiet "status of $name" "$SLUICE" status "${chain[@]}" --json
	jq -r '[.steps[] | select(.calls)][0].calls.spent // 0' "$out/log.out" >"$folder/spent"
	printf '  %-26s took %4d s, %s calls paid, %s dollars\n' "$name" $((SECONDS - start)) $(($(paid) - before)) "$(cat "$folder/spent")"
	runs+=("$name=$folder")
}

paid() {
	curl -sS "http://127.0.0.1:$port/stats" | jq .paid
}

printf '== %s\n' "$(git rev-parse --short HEAD 2>/dev/null || echo unknown), $(nproc) x $(sed -n 's/^model name\s*: //p' /proc/cpuinfo | head -n 1)"
printf '== %s wrong labels; gold: %s of the prompts; a judge is right in %s with examples, %s without, and takes Candidate 1 unread in %s; seed %s\n' \
	"$share" "$gold" "$accuracy" "$alone" "$bias" "$seed"
"$SAMPLE" flip --share "$share" --gold-share "$gold" --seed "$seed" -o "$out/set" "${files[@]}" |
	jq -r '"  raw \(.raw) pairs, \(.raw_flipped) of them wrong; gold \(.gold) pairs"'
split -n l/2 "$out/set/raw.jsonl" "$out/half."
cat "$out/set/truth.jsonl" >"$out/truth.jsonl"
"$LLM" --key the-key --seed "$seed" --truth "$out/truth.jsonl" --accuracy "$alone" --accuracy-examples "$accuracy" --bias "$bias" \
	--price-prompt 0.4 --price-cached 0.1 --price-completion 1.6 --correlated 0.3 >"$out/port" 2>"$out/server.log" &
server=$!
until [[ -s $out/port ]]; do
	kill -0 "$server" 2>/dev/null || die "the server did not start: $(cat "$out/server.log")"
	sleep 0.05
done
port=$(cat "$out/port")
export JUDGE_URL=http://127.0.0.1:$port/v1 JUDGE_KEY=the-key
file=$out/judges.yaml
topology >"$file"
ln -s "$PWD/topology/prompts" "$out/prompts"

runs=()
for rule in ${rules//,/ }; do
	with=(--set "filter.rule=$rule" --set filter.flips=on --set metrics.listen=off --set annotate.judges=a)
	curate "$rule, no LLM" "${with[@]}" --set annotate.backend=nearest --set retrieve.probes=0
	curate "$rule, no examples" "${with[@]}" --set annotate.examples=0
	curate "$rule, examples" "${with[@]}"
	quarter=$(jq -n "$(cat "$out/$rule, examples/spent") / 4")
	curate "$rule, a quarter" "${with[@]}" --set "annotate.budget=$quarter" --set annotate.without_judge=nearest
	curate "$rule, three judges" "${with[@]}" --set annotate.judges=a,b,c
done
"$JUDGES" --set "$out/set" "${runs[@]}"
# What judges said of gold pairs, after the last run with three of them.
"$SLUICE" status -t "$file" --data "$out/$rule, three judges/data" | sed -n '/^judge/,/^$/p'

# Asked where it can matter, and asked about all, by the same frozen models: they are those of the run with examples.
for rule in ${rules//,/ }; do
	with=(--set "filter.rule=$rule" --set filter.flips=on --set metrics.listen=off --set annotate.judges=a --set retrieve.probes=0)
	for when in asked always; do
		folder=$out/$rule-$when
		mkdir -p "$folder"
		quiet "ingest of gold" "$SLUICE" ingest -t "$file" --data "$folder/data" --gold "$out/set/gold.jsonl"
		quiet "training" "$SLUICE" run -t "$file" --data "$folder/data" --until-idle "${with[@]}"
		quiet "ingest" "$SLUICE" ingest -t "$file" --data "$folder/data" "$out/half.aa"
		quiet "run, $when" "$SLUICE" run -t "$file" --data "$folder/data" --until-idle --freeze "${with[@]}" --set "annotate.when=$when" \
			--set "retrieve.when=$when"
		exports "$folder"
	done
	"$JUDGES" --set "$out/set" --same "$rule, where it can matter=$out/$rule-asked" "$rule, everywhere=$out/$rule-always"
done
