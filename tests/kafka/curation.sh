#!/usr/bin/env bash
# curation.sh -- what people and models say about labels, on Kafka as on the embedded stream.
#
#     tests/kafka/curation.sh [--build DIR] [--pairs N] [--seed N] [--keep]
#
# The shipped topology with rule posterior lives the same life twice: embedded, and on Kafka in two processes.
#
#     1   gold pairs and half of the raw ones: gold and the posterior are trained for the first time
#     2   what `gold sample` draws is verified by the truth that was planted, and comes back as gold: audited gold has
#         grown, so the posterior is fitted again
#     3   the other half is decided by the new version; the judge's verdicts now train best, and with another champion
#         there is another posterior
#     4   `train posterior` by hand
#
# Both must tell the same: after each, every count of `status`, models and evidence in all digits, by domain; the sample;
# in the end every export, line for line, `gold wrong`, `explain` and the table of evidence. That what they tell is right is looked at too, against the truth.
# Brokers: those of KAFKA_BOOTSTRAP, else one of its own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

build=.build/release pairs=1400 seed=1 keep=no
while [[ $# -gt 0 ]]; do
	case $1 in
	--build | --pairs | --seed)
		[[ $# -ge 2 ]] || { echo "curation.sh: $1 needs a value" >&2; exit 2; }
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
dir=$(mktemp -d "${TMPDIR:-/tmp}/sluice-curation-XXXXXX")
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

tried "$sample" --pairs "$pairs" --seed "$seed" --gold-share 0.2 --noise 0.25 -o "$dir/sample"
split -n l/2 -d "$dir/sample/raw.jsonl" "$dir/part."
truth=$dir/sample/truth.jsonl
# The judge says what it thinks where it would hold its tongue, so that there are verdicts to train best on: in stage 3.
for name in embedded kafka; do
	sed -e 's/silver: pairs.silver }/&\n    threshold: 0/' -e 's/from: pairs.silver }/from: pairs.silver, min_pairs: 100000 }/' \
		-e 's/^metrics:.*/metrics: off/' -e '/^data:/d' -e '/^stream:/,/^$/d' topology/curate.yaml >"$dir/$name.yaml"
	printf 'models: { dir: %s }\n' "$dir/$name.models" >>"$dir/$name.yaml"
done
echo 'stream: { kind: embedded }' >>"$dir/embedded.yaml"
echo "stream: { kind: kafka, brokers: '$bootstrap', prefix: ${dir##*-}. }" >>"$dir/kafka.yaml"

# on NAME COMMAND ARGUMENT...
on() {
	local name=$1 command=$2
	shift 2
	"$sluice" "$command" -t "$dir/$name.yaml" --data "$dir/$name" "$@"
}

now_ms() { date +%s%3N; }

# run STAGE PROCESSES ARGUMENT...: both, until idle; Kafka in one process or in two, and nobody says which does what.
run() {
	local stage=$1 processes=$2 name p pids began
	shift 2
	for name in embedded kafka; do
		began=$(now_ms) pids=()
		"$sluice" run -t "$dir/$name.yaml" --data "$dir/$name" --until-idle "$@" >"$dir/$name.$stage.log" 2>&1 &
		pids+=($!)
		if [[ $name == kafka && $processes -eq 2 ]]; then
			"$sluice" run -t "$dir/$name.yaml" --data "$dir/second" --until-idle "$@" >"$dir/second.$stage.log" 2>&1 &
			pids+=($!)
		fi
		for p in "${pids[@]}"; do
			wait "$p" || { tail -n 20 "$dir"/*."$stage".log >&2; wrong "stage $stage: run failed on $name"; }
		done
		echo "curation.sh: stage $stage, $name: run took $(($(now_ms) - began)) ms"
	done
}

# told STAGE WHAT: $dir/embedded.WHAT and $dir/kafka.WHAT.
told() {
	if ! diff "$dir/embedded.$2" "$dir/kafka.$2" >"$dir/diff"; then
		head -n 20 "$dir/diff" | cut -c1-200 >&2
		wrong "stage $1: $2 differs (seed $seed): < embedded, > Kafka; left in $dir"
	fi
	[[ -s $dir/kafka.$2 ]] || wrong "stage $1: $2 is empty"
}

# Counts, models and evidence, all digits; without what is the back-end's (bytes, offsets, what a process used), and why a
# model was announced: whoever leads next may be the first to announce it.
same_status() { # stage
	local name
	for name in embedded kafka; do
		on "$name" status --json | jq -S '
			[.steps[] | { name, in, lag, ports, dead, dead_codes, dead_sources, dead_domains }],
			[.topics[] | { name, records, partitions }], (.models | map(del(.reason))), .ingest' >"$dir/$name.status.json"
	done
	told "$1" status.json
}

# Of the model posterior.
posterior() { # jq expression
	jq -r "select(type == \"array\") | .[] | select(.name == \"posterior\" and .report) | $1" "$dir/kafka.status.json"
}

expect_posterior() { # stage, version, reason
	local version why
	version=$(posterior .champion) why=$(on embedded status --json | jq -r '.models[] | select(.name == "posterior").reason')
	[[ $version == "$2" && $why == "$3"* ]] || wrong "stage $1: posterior is version $version, '$why', not $2, '$3...'"
}

same_exports() { # stage, topic:format ...
	local stage=$1 name of topic format
	shift
	for of in "$@"; do
		topic=${of%:*} format=${of#*:}
		for name in embedded kafka; do
			on "$name" export --topic "pairs.$topic" --format "$format" 2>"$dir/out" >"$dir/lines" ||
				wrong "stage $stage: export of pairs.$topic failed on $name: $(cat "$dir/out")"
			LC_ALL=C sort "$dir/lines" >"$dir/$name.$topic.$format"
		done
		told "$stage" "$topic.$format"
	done
	jq -se 'length > 0 and all(.[]; .p_label >= 0.8 and .p_label <= 1)' "$dir/kafka.curated.implicit" >/dev/null ||
		wrong "stage $stage: a curated line has no p_label, or less than was promised"
}

draw() { # stage, seed, N
	local name
	for name in embedded kafka; do
		on "$name" gold sample "$3" --seed "$2" -o "$dir/$name.drawn" 2>"$dir/$name.of" || wrong "gold sample failed on $name"
		sed -i 's/, in .*//' "$dir/$name.of"
	done
	told "$1" drawn
	told "$1" of
}

# {"s1-0000001": "right", ...}
labels() {
	jq -s 'map({ (.sample_id): .label }) | add' "$truth"
}

# What a person would do: swap the answers where the arrived label is wrong; call one in thirty a tie.
verify() { # drawn, verified
	jq -c --slurpfile truth <(labels) '
		($truth[0][.meta.sample_id]) as $arrived |
		if (input_line_number % 30) == 7 then . + { verdict: "tie" }
		elif $arrived == "flipped" then . + { chosen: .rejected, rejected: .chosen }
		else . end' "$1" >"$2"
}

# -- 1
for name in embedded kafka; do
	tried on "$name" ingest --time "$TIME" --gold "$dir/sample/gold.jsonl"
	tried on "$name" ingest --time "$TIME" "$dir/part.00"
done
run 1 2
same_status 1
expect_posterior 1 1 'first:'
audited=$(posterior .report.audited)

# -- 2
draw 2 "$seed" 150
verify "$dir/kafka.drawn" "$dir/verified"
for name in embedded kafka; do
	tried on "$name" ingest --time "$TIME" --gold "$dir/verified"
done
run 2 1 --set posterior.every_pairs=50
same_status 2
expect_posterior 2 2 'count:'
# All but ties, and those that only the published figures may see.
[[ $(posterior .report.audited) -ge $((audited + 100)) ]] ||
	wrong "stage 2: $audited audited gold pairs before 150 were verified, $(posterior .report.audited) after"
jq -r .meta.sample_id "$dir/kafka.drawn" >"$dir/had"
draw 2 "$seed" 150
! grep -qFf "$dir/had" "$dir/kafka.drawn" || wrong "stage 2: what was verified is drawn again"

# -- 3
for name in embedded kafka; do
	tried on "$name" ingest --time "$TIME" "$dir/part.01"
done
run 3 2 --set best.min_pairs=10
same_status 3
same_exports 3 curated:implicit curated:full undecided:full discarded:full silver:full gold:full
expect_posterior 3 3 'champions:'
# The models table when filter decided: first version 1, then 2; nothing was decided twice.
stamps=$(jq -rs '[.[].trail[] | select(.step == "filter") | .tables] | unique | join(" ")' "$dir/kafka.curated.full")
[[ $stamps == 'models=2 models=4' ]] || wrong "stage 3: the curated pairs were decided under '$stamps'"

# -- 4
for name in embedded kafka; do
	tried on "$name" train posterior
done
same_status 4
expect_posterior 4 4 'by hand'
for name in embedded kafka; do
	on "$name" gold wrong 10 --json >"$dir/$name.wrong" 2>"$dir/out" || wrong "gold wrong failed on $name: $(cat "$dir/out")"
	id=$(jq -r '[.[][].id][0]' "$dir/$name.wrong")
	on "$name" explain "$id" | sed -e '/^  stored/d' >"$dir/$name.explain"
	on "$name" status --by-domain | sed -e '/^evidence /,$!d' >"$dir/$name.evidence"
done
told 4 wrong
told 4 explain
told 4 evidence
jq -r --slurpfile truth <(labels) '
	[.[][] | $truth[0][.meta.sample_id]] as $labels |
	($labels | map(select(. == "flipped")) | length) as $wrong |
	"\($wrong) \($labels | length)"' "$dir/kafka.wrong" >"$dir/out"
read -r are of <"$dir/out"
[[ $of -ge 20 && $((2 * are)) -gt $of ]] || wrong "of the $of labels that are most certainly wrong, $are are"
posterior '"curation.sh: the same in all of it; \(.report.audited) audited gold pairs, curated: expected precision \(.report.curated.expected)"'
echo "curation.sh: of $of labels that are most certainly wrong, $are are"
