# shellcheck shell=bash
# chain.sh -- the whole chain for equal.sh and chaos.sh: sample data, models trained once, and streams that begin with
# these, are frozen, get the same input, and must therefore end the same. They source it and set build, dir, seed.

# shellcheck disable=SC2034,SC2154
sluice=$build/sluice sample=$build/tests/data/sluice-sample dump=$build/tests/sim/sluice-dump
copy=$build/tests/kafka/sluice-copy records=$build/tests/kafka/sluice-records
readonly TIME=2026-01-01T00:00:00Z
readonly FINAL='curated flipped undecided discarded duplicate conflict contaminated silver gold'

tools() {
	local tool
	for tool in "$sluice" "$sample" "$dump" "$copy" "$records" "$@"; do
		[[ -x $tool ]] || { echo "${0##*/}: '$tool' is missing: build it first" >&2; exit 2; }
	done
}

wrong() { # words
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	keep=yes
	exit 1
}

# tried COMMAND...: its output only if it fails.
tried() {
	if ! "$@" >"$dir/out" 2>&1; then
		tail -n 20 "$dir/out" >&2
		wrong "'$*' failed"
	fi
}

# brokers NODES OPTION...: of our own in $dir/brokers unless there are some already; $bootstrap.
brokers() {
	local nodes=$1 status=0
	shift
	bash tests/kafka/broker.sh start "$dir/brokers" --nodes "$nodes" "$@" || status=$?
	[[ $status -eq 0 ]] || exit "$status"
	# shellcheck disable=SC1091
	source "$dir/brokers/env"
	bootstrap=$KAFKA_BOOTSTRAP
}

# The topologies. Between steps everything is kept, so that it can be compared; but pairs.retrieved is dropped once it
# is read, so that dropping is in the game too.
topologies() {
	local topic
	{
		sed -e 's/^metrics:.*/metrics: off/' -e '/^data:/d' -e 's/^partitions:.*/partitions: PARTITIONS/' \
			-e "s|^    # benchmarks:.*|    benchmarks: [$dir/second/benchmark.jsonl]|" -e '/^stream:/,/^$/d' -e 's/without_gold: stop.*/&\n    flips: on/' topology/curate.yaml
		printf 'models: { dir: %s }\ntopics:\n' "$dir/models"
		for topic in pairs.unique pairs.embedded pairs.scored pairs.judged; do
			printf '  %s: { retention: keep }\n' "$topic"
		done
	} >"$dir/chain.yaml"
}

topology() { # name, partitions, stream
	sed "s/PARTITIONS/$2/" "$dir/chain.yaml" >"$dir/$1.yaml"
	printf 'stream: %s\n' "$3" >>"$dir/$1.yaml"
}

# A sample whose models are trained once, on the embedded stream; and the input that is to be curated with them.
prepare() { # pairs to train on, pairs to curate
	tried "$sample" --pairs "$1" --seed 3 --gold-share 0.3 -o "$dir/first"
	tried "$sample" --pairs "$2" --seed "$((seed + 100))" --gold-share 0.1 --broken 0.02 --contaminated 0.02 \
		-o "$dir/second"
	topologies
	topology trained 1 '{ kind: embedded }'
	tried "$sluice" ingest -t "$dir/trained.yaml" --data "$dir/trained" --gold "$dir/first/gold.jsonl"
	tried "$sluice" ingest -t "$dir/trained.yaml" --data "$dir/trained" "$dir/first/raw.jsonl"
	tried "$sluice" run -t "$dir/trained.yaml" --data "$dir/trained" --until-idle
}

# The gold pairs and models that all begin with.
given() { # name
	tried "$copy" "$dir/trained.yaml" "$dir/trained" "$dir/$1.yaml" "$dir/$1" pairs.gold models
}

ingest() { # name, argument ...
	local name=$1
	shift
	"$sluice" ingest -t "$dir/$name.yaml" --data "$dir/$name.ingest" --time "$TIME" "$@"
}

# -- what there is in the end, as text: NAME.records, NAME.store, NAME.status

outcome() { # name, data folder that has all its state
	tried "$sluice" status -t "$dir/$1.yaml" --data "$2"
	cp "$dir/out" "$dir/$1.table"
	sed -e 1d -e '/^step /,$d' "$dir/$1.table" >"$dir/$1.status"
	"$records" "$dir/$1.yaml" "$2" | grep -v '^pairs.retrieved ' | LC_ALL=C sort >"$dir/$1.records" ||
		wrong "the records of $1 cannot be read"
	"$dump" "$dir/$1.yaml" "$2" >"$dir/out" || wrong "the store of $1 cannot be read"
	grep '^store [sc]' "$dir/out" >"$dir/$1.store"
	awk '$1 == "step" { on = 1; next } NF == 0 { on = 0 } on && $3 != 0 { print; bad = 1 } END { exit bad }' \
		"$dir/$1.table" >&2 || wrong "$1: there is lag left"
}

explain() { # name, data folder, id: without what is the back-end's
	"$sluice" explain -t "$dir/$1.yaml" --data "$2" "$3" 2>&1 |
		sed -e 's/ partition [0-9]* offset [0-9]*//' -e '/pairs.retrieved/d'
}

# same WHAT WANTED WANTED-DATA FOUND FOUND-DATA: topics and status; with the life of the first pairs that differ.
same() {
	local id
	if ! diff "$dir/$2.records" "$dir/$4.records" >"$dir/diff"; then
		echo "${0##*/}: $1: records differ (seed $seed): < wanted, > found" >&2
		awk '/^</ { missing++ } /^>/ { many++ } END { printf "%d are missing or other\n%d are too many or other\n", missing, many }' \
			"$dir/diff" >&2
		awk 'NR <= 12 { print substr($0, 1, 160) }' "$dir/diff" >&2
		for id in $(awk '/^[<>]/ && $3 != "-" && !seen[$3]++ && ++n <= 3 { print $3 }' "$dir/diff"); do
			echo "-- $id, wanted:" >&2
			explain "$2" "$3" "$id" | cut -c1-160 >&2
			echo "-- $id, found:" >&2
			explain "$4" "$5" "$id" | cut -c1-160 >&2
		done
		wrong "$1: the topics are not as they must be; left in $dir"
	fi
	if ! diff "$dir/$2.status" "$dir/$4.status" >"$dir/diff"; then
		head -n 20 "$dir/diff" >&2
		wrong "$1: the counts of status differ; left in $dir"
	fi
}

same_store() { # what, wanted, found
	if ! diff "$dir/$2.store" "$dir/$3.store" >"$dir/diff"; then
		awk 'NR <= 20 { print substr($0, 1, 160) }' "$dir/diff" >&2
		wrong "$1: the stores differ; left in $dir"
	fi
}
