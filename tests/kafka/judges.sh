#!/usr/bin/env bash
# judges.sh -- LLM judges on Kafka as on the embedded stream, through deaths.
#
#     tests/kafka/judges.sh [--build DIR] [--pairs N] [--seed N] [--keep]
#
# The chain of topology/judged.yaml with one judge (tests/llm) and probes; models are trained once, both streams begin with
# them and are frozen, so that what comes out is a function of what goes in.
#
#     embedded   one run, nothing goes wrong
#     Kafka      the server takes 200 ms; `run` is killed with SIGKILL while it is asked, twice, and the second time it
#                loses its data folder: what it had paid for is in the memo's topic, and is not asked again; then it has no
#                money until `sluice reload`
#
# Then both have the same records in the topics that end the chain, the same verdicts and probes, and each has told the
# truth about its calls and its money, on Kafka also when nobody runs. Thawed, both fit the posterior again, by what the probes say of the judge, and to
# the same figures.
# Brokers: those of KAFKA_BOOTSTRAP, else one of its own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
name=judges.sh
# shellcheck source=tests/llm/common.sh
source tests/llm/common.sh

pairs=900 seed=1
begin "$@"
# shellcheck source=tests/kafka/chain.sh
source tests/kafka/chain.sh
trap '[[ ! -e $dir/brokers ]] || bash tests/kafka/broker.sh stop "$dir/brokers"; leave' EXIT
bootstrap=${KAFKA_BOOTSTRAP:-}
[[ -n $bootstrap ]] || brokers 1

readonly KEPT="$FINAL probed judged"

# chain NAME STREAM
chain() {
	sed -e '/^  second:/,/^    timeout:/d' -e '/^    second:/d' -e 's/^    attributes: .*/    attributes: off/' -e '/attributes_judge:/d' \
		-e 's/^    probes: .*/    probes: 0.1/' -e 's/from: pairs.silver }/from: pairs.silver, min_pairs: 100000 }/' \
		-e 's/pairs.flipped\] }/pairs.flipped], min_pairs: 100000 }/' -e 's/^metrics:.*/metrics: off/' -e '/^data:/d' \
		-e '/^stream:/,/^$/d' -e 's/^drain: .*/drain: 2s/' -e 's/^    in_flight: .*/    in_flight: 8/' topology/judged.yaml
	cat <<-END
		models: { dir: $dir/$1.models }
		topics: { pairs.judged: { retention: keep } }
		stream: $2
	END
}

# on NAME COMMAND ARGUMENT ...
on() {
	local stream=$1 command=$2
	shift 2
	"$sluice" "$command" -t "$dir/$stream.yaml" --data "$dir/$stream" "$@"
}

# start NAME ARGUMENT ...: run, in the background
start() {
	topology=$dir/$1.yaml
	run "$dir/$1" "${@:2}"
}

# told NAME: what status says, into NAME.told
told() {
	on "$1" status --json >"$dir/$1.told" || wrong "status of $1 failed"
}

calls() { # NAME EXPRESSION over the calls of annotate (c) and all of it (d), as told last
	python3 - "$dir/$1.told" "$2" <<-'END'
		import json, sys
		d = json.load(open(sys.argv[1]))
		c = [s["calls"] for s in d["steps"] if s["name"] == "annotate"][0]
		print(eval(sys.argv[2]))
	END
}

# holds NAME EXPRESSION WORDS
holds() {
	[[ $(calls "$1" "$2") == True ]] || wrong "$1: $3: not $2: $(calls "$1" c), server $(curl -sS "http://127.0.0.1:$port/stats")"
}

idle() { # NAME: the run under way has nothing left to do
	told "$1"
	[[ $(calls "$1" "d['running'] and all(s['lag'] == 0 for s in d['steps'])") == True ]]
}

asked() { # COUNT: by now, by the server's word
	[[ $(stat_of requests) -ge $1 ]]
}

ends() { # NAME: NAME.records, of the topics that are kept
	"$records" "$dir/$1.yaml" "$dir/$1" | LC_ALL=C sort >"$dir/$1.all" || wrong "the records of $1 cannot be read"
	awk -v kept="$KEPT" 'BEGIN { n = split(kept, k); while (n) is["pairs." k[n--]] = 1 } is[$1] || $1 ~ /^dead/' "$dir/$1.all" \
		>"$dir/$1.records"
}

# -- models, once
tried "$sample" --pairs "$pairs" --seed "$seed" --gold-share 0.35 --noise 0.25 --broken 0 --mean-bytes 1200 -o "$dir/sample"
ln -s "$PWD/topology/prompts" "$dir/prompts"
server --truth "$dir/sample/truth.jsonl" --accuracy 0.85 --bias 0.1 --price-prompt 0.4 --price-cached 0.1 --price-completion 1.6
chain trained '{ kind: embedded }' >"$dir/trained.yaml"
chain embedded '{ kind: embedded }' >"$dir/embedded.yaml"
chain kafka "{ kind: kafka, brokers: '$bootstrap', prefix: ${dir##*-}. }" >"$dir/kafka.yaml"
echo 'kafka: { session.timeout.ms: 6000, heartbeat.interval.ms: 1000 }' >>"$dir/kafka.yaml" # a death is noticed soon
tried on trained ingest --time "$TIME" --gold "$dir/sample/gold.jsonl"
tried on trained run --until-idle
for stream in embedded kafka; do
	cp -r "$dir/trained.models" "$dir/$stream.models" 2>/dev/null || true
	tried "$copy" "$dir/trained.yaml" "$dir/trained" "$dir/$stream.yaml" "$dir/$stream" pairs.gold models
	tried on "$stream" ingest --time "$TIME" "$dir/sample/raw.jsonl"
done
say "models are trained: $SECONDS s"

# -- what must come out
start embedded --until-idle --freeze
run_ends
told embedded
ends embedded
for topic in pairs.curated pairs.undecided pairs.silver pairs.judged pairs.probed; do
	grep -q "^$topic " "$dir/embedded.records" || wrong "the input leaves '$topic' empty, so it tells nothing about it"
done
questions=$(stat_of paid)
holds embedded "c['answers'] == c['sent'] == $questions or c['sent'] == 0" "one answer per question"
say "embedded: $questions questions: $SECONDS s"

# -- Kafka, through two deaths
control '{"reset": true, "latency_ms": 200}'

# killed WHEN: once the server has seen so many questions; $kept answers had been made durable by then
killed() {
	within 60 asked "$1" || wrong "the server was asked $(stat_of requests) times, not $1"
	told kafka
	kept=$(calls kafka "c['answers']")
	kill -9 "$run_pid" || wrong "run was done before it was killed"
	wait "$run_pid" 2>/dev/null || true
	run_pid=''
	before=$(stat_of requests)
	[[ $kept -gt 0 && $before -lt $questions ]] || wrong "killed too early or too late: $kept answers kept, $before asked"
	say "killed: $kept answers were kept, $before of $questions questions asked: $SECONDS s"
}

start kafka --freeze
killed $((questions / 6))
start kafka --freeze
killed $((before + questions / 6))
rm -rf "$dir/kafka"
# It comes back without money, and goes on where it is when the file says that there is some.
cp "$dir/kafka.yaml" "$dir/kafka.rich"
sed -i 's/^    budget_per_day: .*/    budget_per_day: 0/' "$dir/kafka.yaml"
start kafka --freeze
poor() {
	told kafka
	[[ $(calls kafka "[s['state'] for s in d['steps'] if s['name'] == 'annotate'][0] == 'no_budget' and d['endpoints'][0]['budget_per_day'] == 0") == True ]]
}
within 60 poor || wrong "nobody says that there is no money: $(tail -n 3 "$dir/run.log")"
holds kafka "c['sent'] == 0" "something was asked without money"
cp "$dir/kafka.rich" "$dir/kafka.yaml"
"$sluice" reload --data "$dir/kafka" >"$dir/reload" || wrong "reload failed"
grep -qF 'budget_per_day $0 ->' "$dir/reload" || wrong "reload says '$(cat "$dir/reload")'"
within 60 idle kafka || wrong "run does not come to its end: $(tail -n 3 "$dir/run.log")"
curl -sS "http://127.0.0.1:$port/stats" >"$dir/stats"
paid=$(of "d['paid']" <"$dir/stats") dollars=$(of "d['dollars']" <"$dir/stats")
# Questions that were under way at a death are all that was asked twice: of two tasks, at most in_flight of each.
holds kafka "c['answers'] == $questions and 0 < c['sent'] <= $questions - $kept" "what was kept at a death is asked again"
holds kafka "$paid <= $questions + c['repeated'] + c['unknown'] and c['repeated'] <= 2 * 2 * 8" "more is paid than is told"
holds kafka "$dollars <= c['spent'] + 1e-6 and c['reserved'] == 0" "less is told than is spent"
holds kafka "d['endpoints'][0]['calls'] == c['sent'] and d['endpoints'][0]['spent'] == c['spent']" "the endpoint tells else"
say "Kafka: $(calls kafka "f\"{c['sent']} sent in its last life, {c['hits']} from the memo; $paid paid, {c['repeated']} repeated\""): $SECONDS s"
holds kafka "c['here'] == c['partitions'] == 2 and c['elsewhere'] == 0" "one process has all"
# With nobody there, and from a folder that knows nothing: the rows in APP.meta tell the same.
MONEY="[[c[k] for k in ('spent', 'reserved', 'repeated', 'unknown', 'lost', 'overshot', 'answers', 'bytes', 'parked')], c['endpoints'], d['endpoints'][0]['spent']]"
money=$(calls kafka "$MONEY")
run_stop
"$sluice" status -t "$dir/kafka.yaml" --data "$dir/stranger" --json >"$dir/kafka.told" || wrong "status from another folder failed"
holds kafka "c['here'] == 0 and c['elsewhere'] == 2 and 0 < c['as_of_ms'] < $(date +%s)999" "nobody runs, so the rows tell"
[[ $(calls kafka "$MONEY") == "$money" ]] || wrong "with nobody there the money is $(calls kafka "$MONEY"), not $money"
on kafka status >"$dir/kafka.table"
grep -q 'this process has 0 of 2 partitions; money and memo of 2 others are as of 20' "$dir/kafka.table" ||
	wrong "the table does not say of when the figures are: $(grep -A1 '^annotate' "$dir/kafka.table")"
ends kafka
if ! diff "$dir/embedded.records" "$dir/kafka.records" >"$dir/diff"; then
	head -n 12 "$dir/diff" | cut -c1-160 >&2
	wrong "records differ (seed $seed): < embedded, > Kafka; left in $dir"
fi

# -- thawed: the probes reach the posterior
for stream in embedded kafka; do
	start "$stream" --until-idle
	run_ends
	told "$stream"
	holds "$stream" "d['judges']['probes'] >= 12 and d['judges']['judges'][0]['agreement']['value'] > 0.6" "no record of the judge"
	calls "$stream" "[d['judges'], [{k: m[k] for k in ('champion', 'reason', 'report')} for m in d['models'] if m['name'] == 'posterior']]" \
		>"$dir/$stream.judge"
	holds "$stream" "[m['reason'][:7] for m in d['models'] if m['name'] == 'posterior'] == ['judges:']" "no posterior by probes"
done
diff "$dir/embedded.judge" "$dir/kafka.judge" >"$dir/diff" ||
	wrong "judge or posterior differ (seed $seed): < embedded, > Kafka: $(cut -c1-400 "$dir/diff"); left in $dir"
say "$(calls kafka "f\"{d['judges']['probes']} probes, the judge agrees in {d['judges']['judges'][0]['agreement']['value']:.3f}\""), $(
	wc -l <"$dir/kafka.records") records the same: $SECONDS s"
