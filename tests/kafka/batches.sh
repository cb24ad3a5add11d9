#!/usr/bin/env bash
# batches.sh -- the Batch API on Kafka as on the embedded stream, through deaths and a rebalance.
#
#     tests/kafka/batches.sh [--build DIR] [--pairs N] [--seed N] [--keep]
#
# A chain with two judges that both answer in batches (tests/llm), so that most pairs wait twice.
#
#     embedded   one run, nothing goes wrong
#     calm       the same on Kafka: every record is the same, wherever it waited
#     deaths     SIGKILL while questions are parked, while a batch is made and while it is open, and then the data folder
#                is lost; a third of the batches are made without the server saying so
#     moved      a second process gets a partition whose batches are open, and then all of them
#
# However it went: every question was submitted and paid once, the answers are those that were paid, and every pair came
# to where it came on the embedded stream, once. Brokers: those of KAFKA_BOOTSTRAP, else one of its own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
name=batches.sh
# shellcheck source=tests/llm/common.sh
source tests/llm/common.sh

pairs=160 seed=1
begin "$@"
# shellcheck source=tests/kafka/chain.sh
source tests/kafka/chain.sh
trap '[[ ! -e $dir/brokers ]] || bash tests/kafka/broker.sh stop "$dir/brokers"; leave' EXIT
bootstrap=${KAFKA_BOOTSTRAP:-}
[[ -n $bootstrap ]] || brokers 1
RANDOM=$seed

# chain NAME STREAM
chain() {
	cat >"$dir/$1.yaml" <<-END
		topology: batches
		partitions: 2
		metrics: off
		drain: 1s
		stream: $2
		ingest: { to: pairs.raw, ties: pairs.ties }
		prices: { m: { prompt: 1, completion: 2 }, n: { prompt: 1, completion: 2 } }
		endpoints:
		  judge: { url: "\${JUDGE_URL}", key: "\${JUDGE_KEY}", model: m, batch: true, batch_requests: 40, batch_wait: 1s, batch_poll: 100ms, budget: 100 }
		  other: { url: "\${JUDGE_URL}", key: "\${JUDGE_KEY}", model: n, batch: true, batch_requests: 40, batch_wait: 1s, batch_poll: 100ms, budget: 100 }
		steps:
		  - name: dedupe
		    from: pairs.raw
		    to: { unique: pairs.unique, duplicate: pairs.duplicate, conflict: pairs.conflict, contaminated: pairs.contaminated }
		  - name: embed
		    from: pairs.unique
		    to: { embedded: pairs.embedded, gold: pairs.gold }
		  - name: annotate
		    from: pairs.embedded
		    tables: { gold: pairs.gold, models: models }
		    to: { judged: pairs.judged, silver: pairs.silver, probed: pairs.probed, deferred: pairs.deferred }
		    backend: llm
		    when: always
		    judges: [judge]
		    second: other
		    order: both
		    prompt: $PWD/topology/prompts/preference.txt
		    attributes_prompt: $PWD/topology/prompts/attributes.txt
		  - name: filter
		    from: pairs.judged
		    tables: { models: models }
		    to: { curated: pairs.curated, flipped: pairs.flipped, undecided: pairs.undecided, discarded: pairs.discarded }
		    rule: paper
		    without_gold: llm_only
		trainers:
		  - { name: gold, from: pairs.gold, errors: gold.errors }
		topics: { pairs.raw: { retention: keep }, pairs.unique: { retention: keep }, pairs.embedded: { retention: keep }, pairs.judged: { retention: keep } }
	END
}

kafka() { # NAME
	chain "$1" "{ kind: kafka, brokers: '$bootstrap', prefix: ${dir##*-}.$1., commit_every: 20ms }"
	echo 'kafka: { session.timeout.ms: 6000, heartbeat.interval.ms: 1000 }' >>"$dir/$1.yaml" # a death is noticed soon
}

# on NAME COMMAND ARGUMENT ...
on() {
	local chain=$1 command=$2
	shift 2
	"$sluice" "$command" -t "$dir/$chain.yaml" --data "$dir/$chain" "$@"
}

# start NAME ARGUMENT ...: run, in the background; from here on status asks it, and does not get in before it
start() {
	topology=$dir/$1.yaml
	run "$dir/$1" "${@:2}"
	within 20 grep -qx "$run_pid" "$dir/$1/LOCK" || wrong "$1: run does not start: $(tail -n 3 "$dir/run.log")"
}

told() { # NAME EXPRESSION over the calls of annotate (c) and all that status says (d)
	on "$1" status --json 2>/dev/null | of "[(c, $2) for s in d['steps'] if s['name'] == 'annotate' for c in [s['calls']]][0][1]"
}

is_so() { # NAME EXPRESSION
	[[ $(told "$1" "bool($2)") == True ]]
}

server_says() { # EXPRESSION over the server's counts
	[[ $(curl -sS "http://127.0.0.1:$port/stats" | of "bool($1)") == True ]]
}

killed() { # WHEN COMMAND ...: once the command succeeds, a moment later
	within 90 "${@:2}" || wrong "deaths: not $1: $(told deaths c), server $(curl -sS "http://127.0.0.1:$port/stats")"
	sleep "0.0$((RANDOM % 90 + 10))"
	kill -9 "$run_pid" || wrong "deaths: run was done before it was killed $1"
	wait "$run_pid" 2>/dev/null || true
	run_pid=''
	say "killed $1: $SECONDS s"
}

# lives NAME: run to the end, and what is told then
lives() {
	within 120 is_so "$1" "c['here'] == c['partitions'] == 2 and c['parked'] == 0 and c['answers'] == $questions and all(s['lag'] == 0 for s in d['steps'])" ||
		wrong "$1: run does not come to its end: $(told "$1" c): $(tail -n 3 "$dir/run.log")"
	told "$1" "json.dumps(c)" >"$dir/$1.calls"
	run_stop
}

# ends NAME: records, sorted; and of each pair where it came to
ends() {
	"$records" "$dir/$1.yaml" "$dir/$1" | awk '$1 != "models"' | LC_ALL=C sort >"$dir/$1.records" || wrong "the records of $1 cannot be read"
	awk '$1 ~ /^(pairs.(judged|curated|flipped|undecided|discarded|silver)|dead)/ { print $1, $2 }' "$dir/$1.records" |
		LC_ALL=C sort >"$dir/$1.ends"
}

same_ends() { # NAME RECORDS-OR-ENDS
	diff "$dir/embedded.$2" "$dir/$1.$2" >"$dir/diff" ||
		wrong "$1: $2 differ (seed $seed): < embedded, > Kafka: $(head -n 4 "$dir/diff" | cut -c1-160); left in $dir"
}

once() { # NAME: every question once, by the server's word
	server_says "d['batched'] == d['distinct_paid'] == d['paid'] == $questions" ||
		wrong "$1: not $questions questions, each once: server $(curl -sS "http://127.0.0.1:$port/stats")"
}

honest() { # NAME: and the money, by lives
	python3 - "$dir/$1.calls" "$(stat_of dollars)" "$questions" <<-'END' || wrong "$1: $(cat "$dir/$1.calls"), server $(stat_of dollars) dollars"
		import json, sys
		c, dollars, questions = json.load(open(sys.argv[1])), float(sys.argv[2]), int(sys.argv[3])
		sys.exit(abs(dollars - c["spent"]) > 1e-6 * questions or c["reserved"] != 0 or c["batches"] != [])
	END
}

# -- what must come out
tried "$sample" --pairs "$pairs" --seed "$seed" --gold-share 0 --mean-bytes 900 --duplicates 0 --near 0 --conflicts 0 \
	--contaminated 0 --broken 0 -o "$dir/sample"
server --price-prompt 1 --price-completion 2 --batch-ms 300 --models 'm accuracy=0.9 bias=0.2,n accuracy=0.9'
chain embedded '{ kind: embedded, commit_every: 20ms }'
tried on embedded ingest --time "$TIME" "$dir/sample/raw.jsonl"
start embedded --until-idle
run_ends
ends embedded
questions=$(stat_of paid)
once embedded
[[ $questions -gt $((2 * pairs)) ]] || wrong "no pair was asked about twice"
[[ $(grep -c '^pairs.judged' "$dir/embedded.ends") == "$pairs" ]] || wrong "embedded: not every pair is judged"
say "embedded: $questions questions about $pairs pairs: $SECONDS s"

# -- nothing goes wrong
control '{"reset": true}'
kafka calm
tried on calm ingest --time "$TIME" "$dir/sample/raw.jsonl"
start calm --until-idle
run_ends
once calm
ends calm
same_ends calm records
say "calm: $(wc -l <"$dir/calm.records") records the same: $SECONDS s"

# -- deaths
control '{"reset": true, "batch_cut": 0.3, "batch_ms": 100000}'
kafka deaths
tried on deaths ingest --time "$TIME" "$dir/sample/raw.jsonl"
start deaths --until-idle
killed "while questions are parked" is_so deaths "c['parked'] > 0"
start deaths --until-idle
killed "while a batch is made" server_says "d['files'] > 0"
start deaths --until-idle
killed "while batches are open" is_so deaths "any(b['state'] == 'submitted' for b in c['batches'])"
rm -rf "$dir/deaths"
control '{"batch_ms": 300, "end_batches": "completed"}'
start deaths
killed "while answers come" is_so deaths "c['answers'] > 0"
start deaths
lives deaths
once deaths
honest deaths
ends deaths
same_ends deaths ends
say "deaths: $(stat_of batches) batches, $(stat_of files) files: $SECONDS s"

# -- moved
control '{"reset": true, "batch_cut": 0, "batch_ms": 100000}'
kafka moved
tried on moved ingest --time "$TIME" "$dir/sample/raw.jsonl"
start moved
within 90 is_so moved "c['here'] == 2 and sum(b['questions'] for b in c['batches'] if b['state'] == 'submitted') >= $pairs" ||
	wrong "moved: nothing is submitted: $(told moved c)"
"$sluice" run -t "$dir/moved.yaml" --data "$dir/moved2" --until-idle >"$dir/run2.log" 2>&1 &
extra_pid=$!
within 90 is_so moved "c['here'] == 1" || wrong "moved: the second process gets nothing: $(tail -n 3 "$dir/run2.log")"
control '{"batch_ms": 300, "end_batches": "completed"}'
within 90 server_says "d['paid'] > $pairs / 2" || wrong "moved: no answers: $(tail -n 3 "$dir/run2.log")"
run_stop # its partition goes to the other, which comes to the end of everything
within 120 bash -c "! kill -0 $extra_pid" || wrong "moved: does not come to its end: $(tail -n 3 "$dir/run2.log")"
wait "$extra_pid" || wrong "moved: run ended with $?: $(tail -n 3 "$dir/run2.log")"
extra_pid=''
start moved
lives moved
once moved
honest moved
ends moved
same_ends moved ends
say "moved: $(stat_of batches) batches: $SECONDS s"
