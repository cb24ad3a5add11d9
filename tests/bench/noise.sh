#!/usr/bin/env bash
# noise.sh -- labels of real pairs made wrong on purpose, curated by each rule, and held against the truth.
#
#     tests/bench/noise.sh                           the human sets of ../shared/data together
#     tests/bench/noise.sh --build DIR FILE...       other files, the binaries in DIR as they are
#
#     --share 0.3           of the labels that arrive, wrong ones
#     --systematic          wrong mostly where the truth is the shorter answer: 0.9 of the wrong ones (default: at random)
#     --longer-share X      the same with another part of them; a label that is wrong at random stands there in about 0.42
#     --gold-share 0.2      of the prompts (or lines), verified by people: they keep the true label and say how it arrived
#     --regime prompts      new prompts: no prompt is both gold and raw (default), or
#              random       same prompts: any line may be gold
#     --rules paper,posterior
#     --keeps 0.80,0.85,0.90    of rule posterior; the first is shown in full
#     --domain-key KEY      where the domain is, for example meta.subset (default: the source is the domain)
#     --seed 1              of the draws: who is gold, which labels are wrong
#     --no-flips            flips stay off, as in the shipped topology (default: on, or there is nothing to see)
#     --draws 4             of the split for the models trained on what came and what left; 0: none of them
#     --set KEY=VALUE       for `sluice run`, repeatable
#     --out DIR             keep the set, the data folders and the exports
#
# Each rule (and keep) has a data folder of its own: ingest, run --until-idle, export. bench_noise then prints who is right,
# what each rule kept and how right that is, by domain and overall; what P promised and what came of it; and how good models
# are that were trained on the labels as they came, as they left and as they should be. Judges nothing.
# Exit code 77: skipped, because ../shared/data is absent.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

build='' out='' share=0.3 gold=0.2 seed=1 longer=0 by=prompt rules=paper,posterior keeps=0.80,0.85,0.90
flips=on
files=() tool=() keys=() sets=()

die() {
	printf 'noise.sh: %s\n' "$*" >&2
	exit 1
}

while [[ $# -gt 0 ]]; do
	case $1 in
	--build | --out | --share | --gold-share | --seed | --regime | --rules | --keeps | --domain-key | --set | --draws | --longer-share)
		[[ $# -gt 1 ]] || die "'$1' needs a value"
		case $1 in
		--build) build=$2 ;;
		--out) out=$2 ;;
		--share) share=$2 ;;
		--gold-share) gold=$2 ;;
		--seed) seed=$2 ;;
		--longer-share) longer=$2 ;;
		--regime)
			case $2 in
			prompts) by=prompt ;;
			random) by=line ;;
			*) die "--regime is prompts or random, not '$2'" ;;
			esac
			;;
		--rules) rules=$2 ;;
		--keeps) keeps=$2 ;;
		--domain-key) keys=(--domain-key "$2") ;;
		--draws) tool=(--draws "$2") ;;
		--set) sets+=(--set "$2") ;;
		esac
		shift
		;;
	--systematic) longer=0.9 ;;
	--no-flips) flips=off ;;
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
		printf "skipped: noise.sh needs '%s'\n" "${files[0]}"
		exit 77
	fi
fi
if [[ -z $build ]]; then
	build=.build/release
	bash docker/setup.sh
	cmake --preset release >/dev/null
	cmake --build --preset release --target sluice sluice-sample bench_noise
fi
if [[ -z $out ]]; then
	out=$(mktemp -d "${TMPDIR:-/tmp}/sluice-noise-XXXXXX")
	trap 'rm -rf "$out"' EXIT
else
	mkdir -p "$out"
	[[ -z $(ls -A "$out") ]] || die "--out '$out' is not empty: give a new folder"
fi
readonly SLUICE=$build/sluice SAMPLE=$build/tests/data/sluice-sample NOISE=$build/tests/bench/bench_noise

# quiet NAME COMMAND...: what it says is shown only if it fails.
quiet() {
	local name=$1
	shift
	"$@" >"$out/log.out" 2>"$out/log.err" || {
		cat "$out/log.err" >&2
		die "$name failed"
	}
}

# curate NAME OPTION...: one data folder from empty to exported.
curate() {
	local name=$1 folder=$out/$1 start=$SECONDS
	shift
	local chain=(-t topology/curate.yaml --data "$folder/data" --set metrics.listen=off)

	mkdir -p "$folder"
	quiet "ingest of gold, $name" "$SLUICE" ingest "${chain[@]}" ${keys[@]+"${keys[@]}"} --gold "$out/set/gold.jsonl"
	quiet "ingest, $name" "$SLUICE" ingest "${chain[@]}" ${keys[@]+"${keys[@]}"} "$out/set/raw.jsonl"
	quiet "run, $name" "$SLUICE" run "${chain[@]}" --until-idle "$@" ${sets[@]+"${sets[@]}"}
	sed -n 's/^.*text="\(model .*\)"$/  \1/p' "$out/log.err"
	for topic in gold curated flipped undecided discarded; do
		quiet "export, $name" "$SLUICE" export "${chain[@]}" --topic "pairs.$topic" --format full -o "$folder/$topic.jsonl"
	done
	[[ $out != "${TMPDIR:-/tmp}"/sluice-noise-* ]] || rm -rf "$folder/data"
	printf '  %s took %d s\n' "$name" $((SECONDS - start))
	runs+=("$name=$folder")
}

printf '== %s\n' "$(git rev-parse --short HEAD 2>/dev/null || echo unknown), $(nproc) x $(sed -n 's/^model name\s*: //p' /proc/cpuinfo | head -n 1)"
if [[ $longer == 0 ]]; then kind='at random'; else kind="$longer of them where the truth is the shorter answer"; fi
printf '== %s wrong labels, %s; gold: %s by %s; seed %s\n' "$share" "$kind" "$gold" "$by" "$seed"
"$SAMPLE" flip --share "$share" --longer-share "$longer" --gold-share "$gold" --gold-by "$by" --seed "$seed" -o "$out/set" \
	"${files[@]}" | jq -r '"  raw \(.raw) pairs, \(.raw_flipped) of them wrong; gold \(.gold) pairs"'
runs=()
for rule in ${rules//,/ }; do
	if [[ $rule == posterior ]]; then
		for keep in ${keeps//,/ }; do
			curate "posterior@$keep" --set filter.rule=posterior --set "filter.keep=$keep" --set "filter.flips=$flips"
		done
	else
		curate "$rule" --set "filter.rule=$rule" --set "filter.flips=$flips"
	fi
done
"$NOISE" --set "$out/set" ${keys[@]+"${keys[@]}"} ${tool[@]+"${tool[@]}"} "${runs[@]}"
