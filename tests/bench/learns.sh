#!/usr/bin/env bash
# learns.sh -- the chain learns: labels of real pairs made wrong on purpose, curated, and held
# against the truth; with retrains that trigger themselves, a rollback, and the swap of models.
#
#     tests/bench/learns.sh                          alpaca-eval-ai of ../shared/data
#     tests/bench/learns.sh --build DIR              use the binaries in DIR as they are
#     tests/bench/learns.sh --share 0.3 --gold-share 0.2 --seed 1 --lines N --out DIR FILE...
#
# One pair in five is gold, by whole prompts: no prompt of a raw pair was ever seen by a human. Of
# all labels that arrive, 30 % are wrong; gold pairs keep the true label and say how they arrived. The
# raw pairs come in four parts, the gold ones in two halves:
#
#     1   half of the gold pairs and part 1: the models are trained for the first time
#     2   the other half and part 2: the triggers (every_pairs) ask for new versions, which are trained
#         when all is decided
#     3   part 3: its pairs are scored by the new versions
#     4   part 4 while `run` runs, and in the middle of it a rollback of best (or gold): the steps swap to
#         the older version between two transactions
#
# best asks for a new version after 200 verdicts here (1,000 by default): the judge is asked seldom.
# Prints the precision of the labels as they came and as they left, by part; which versions
# scored which pairs; the models on gold pairs that none was trained on. Judges nothing.
# Exit code 77: skipped, because ../shared/data is absent.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

build='' out='' kept=yes share=0.3 gold=0.2 seed=1 lines=0
files=()

die() {
	printf 'learns.sh: %s\n' "$*" >&2
	exit 1
}

while [[ $# -gt 0 ]]; do
	case $1 in
	--build | --out | --share | --gold-share | --seed | --lines)
		[[ $# -gt 1 ]] || die "'$1' needs a value"
		case $1 in
		--build) build=$2 ;;
		--out) out=$2 ;;
		--share) share=$2 ;;
		--gold-share) gold=$2 ;;
		--seed) seed=$2 ;;
		--lines) lines=$2 ;;
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
	files=(../shared/data/alpaca-eval-ai.jsonl.gz)
	if [[ ! -f ${files[0]} ]]; then
		printf "skipped: learns.sh needs '%s'\n" "${files[0]}"
		exit 77
	fi
fi
if [[ -z $build ]]; then
	build=.build/release
	bash docker/setup.sh
	cmake --preset release >/dev/null
	cmake --build --preset release --target sluice sluice-sample
fi
if [[ -z $out ]]; then
	out=$(mktemp -d "${TMPDIR:-/tmp}/sluice-learns-XXXXXX")
	kept=no
	trap 'rm -rf "$out"' EXIT
else
	mkdir -p "$out"
	[[ -z $(ls -A "$out") ]] || die "--out '$out' is not empty: give a new folder"
fi
readonly SLUICE=$build/sluice SAMPLE=$build/tests/data/sluice-sample
readonly CHAIN=(-t topology/curate.yaml --data "$out/data" --set metrics.listen=off)

say() {
	printf '\n== %s\n' "$*"
}

# What a command says goes to a log; of the log, what the trainers did is shown.
run() {
	local log=$out/run.$1.log
	"$SLUICE" run "${CHAIN[@]}" --until-idle --set best.every_pairs=200 >"$log.out" 2>"$log" || {
		cat "$log" >&2
		die "run $1 failed"
	}
	sed -n 's/^.*text="\(model .*\)"$/  \1/p' "$log"
}

ingest() {
	"$SLUICE" ingest "${CHAIN[@]}" "$@" 2>/dev/null >>"$out/ingest.log" || die "'ingest $*' failed"
}

say "labels made wrong: $share of those that arrive; gold: $gold of the prompts"
"$SAMPLE" flip --share "$share" --gold-share "$gold" --seed "$seed" -o "$out/set" "${files[@]}" |
	jq -r '"  raw \(.raw) pairs, \(.raw_flipped) of them wrong; gold \(.gold) pairs"'
if [[ $lines -gt 0 ]]; then
	head -n "$lines" "$out/set/raw.jsonl" >"$out/set/short.jsonl"
	mv "$out/set/short.jsonl" "$out/set/raw.jsonl"
fi
# The file is sorted by model and prompt: the parts are drawn, so that they are alike.
shuf --random-source=<(yes "$seed") "$out/set/raw.jsonl" >"$out/set/raw.shuffled.jsonl"
split -n l/4 -d "$out/set/raw.shuffled.jsonl" "$out/part."
shuf --random-source=<(yes "$seed") "$out/set/gold.jsonl" >"$out/set/gold.shuffled.jsonl"
split -n l/2 -d "$out/set/gold.shuffled.jsonl" "$out/gold."

# precision FILE: "right of known"
precision() {
	"$SAMPLE" precision --json --truth "$out/set/truth.jsonl" "$1" |
		jq -r '[.pairs, .right, (.right / ([.right + .wrong, 1] | max))] | @tsv'
}

# Exports hold everything so far; what has the sample ids of a part belongs to it.
report_part() {
	local n=$1 end before after
	before=$(precision "$out/part.0$((n - 1))")
	printf '  %-12s %8s %8s %10s\n' '' pairs right precision
	printf '  %-12s %8d %8d %10.3f\n' arrived $before
	for end in curated discarded; do
		"$SLUICE" export "${CHAIN[@]}" --topic "pairs.$end" --format explicit -o "$out/$end.jsonl" 2>/dev/null
		jq -rn --slurpfile part <(jq -c .meta.sample_id "$out/part.0$((n - 1))") \
			'($part | map({ (.): true }) | add) as $mine | inputs | select($mine[.meta.sample_id]) | tojson' \
			"$out/$end.jsonl" >"$out/$end.$n.jsonl"
		after=$(precision "$out/$end.$n.jsonl")
		printf '  %-12s %8d %8d %10.3f\n' "$end" $after
	done
	jq -nr --argjson in "$(cut -f1 <<<"$before")" --argjson right "$(cut -f2 <<<"$before")" \
		--argjson kept "$(precision "$out/curated.$n.jsonl" | cut -f1)" \
		--argjson kept_right "$(precision "$out/curated.$n.jsonl" | cut -f2)" \
		'"  kept \(1000 * $kept / $in | round / 10) % of the pairs and \(1000 * $kept_right / $right | round / 10) % of the right ones"'
}

# Which versions scored the pairs of a part, from the scores in the records.
versions() {
	"$SLUICE" export "${CHAIN[@]}" --topic pairs.scored --format full 2>/dev/null |
		jq -rn --slurpfile part <(jq -c .meta.sample_id "$out/part.0$(($1 - 1))") '
			($part | map({ (.): true }) | add) as $mine |
			reduce (inputs | select($mine[.meta.sample_id // ""])) as $p ({};
				([$p.scores[] | "\(.model) \(.version)"] | sort | join(", ")) as $by |
				([$p.trail[] | select(.step == "score").tables][0]) as $table |
				.["\($by) (table \($table))"] += 1) |
			to_entries[] | "  \(.value) pairs scored by \(.key)"'
}

say "part 1: half of the gold pairs, no model yet"
ingest --gold "$out/gold.00"
ingest "$out/part.00"
run 1
report_part 1
versions 1

say "part 2: scored by what part 1 taught; the triggers then ask for new versions"
ingest --gold "$out/gold.01"
ingest "$out/part.01"
run 2
report_part 2
versions 2

say "part 3: the new versions are in use"
ingest "$out/part.02"
run 3
report_part 3
versions 3

# A new version that is worse on the select split stays a candidate, so that either may have none to go back to.
model=$("$SLUICE" models "${CHAIN[@]}" list --json |
	jq -r '[.[] | select((.name == "best" or .name == "gold") and .previous > 0).name] | sort | .[0] // ""')
[[ -n $model ]] || die "neither best nor gold has two champions yet: give more lines"
say "part 4: rollback of $model while it runs"
split -n l/2 -d "$out/part.03" "$out/half."
"$SLUICE" run "${CHAIN[@]}" --set best.every_pairs=0 --set final.every_pairs=0 >/dev/null 2>"$out/run.4.log" &
runner=$!
trap 'kill -KILL $runner 2>/dev/null || true; [[ $kept == yes ]] || rm -rf "$out"' EXIT
# settle: wait until filter has read all that dedupe let through but gold.
settle() {
	until "$SLUICE" status "${CHAIN[@]}" --json 2>/dev/null |
		jq -e '.running and .ingest.pairs == .steps[0].in and ([.steps[].lag] | add) == 0' >/dev/null; do
		kill -0 "$runner" || die "'run' ended too early: $(cat "$out/run.4.log")"
	done
}
ingest "$out/half.00"
settle
ingest "$out/half.01" &
"$SLUICE" models "${CHAIN[@]}" rollback "$model" --reason "learns.sh shows a rollback" >/dev/null
wait $!
settle
kill -TERM "$runner"
wait "$runner"
trap '[[ $kept == yes ]] || rm -rf "$out"' EXIT
sed -n 's/^.*text="\(model .*\)"$/  \1/p' "$out/run.4.log"
report_part 4
versions 4

say "all parts together"
cat "$out"/curated.[1234].jsonl >"$out/curated.jsonl"
"$SAMPLE" precision --truth "$out/set/truth.jsonl" "$out/set/raw.jsonl" "$out/curated.jsonl" |
	sed "s#$out/##;s/^/  /"

say "models (accuracy on gold pairs of the report split, 95 % interval)"
"$SLUICE" models "${CHAIN[@]}" list | sed 's/^/  /'
