#!/usr/bin/env bash
# batch.sh -- judging by the Batch API: pairs wait in pairs.deferred while their questions are in a batch, and come back by
# themselves, once, whatever is killed and when.
#
#     tests/llm/batch.sh [--pairs 300] [--kills 12] [--seed 1] [--build DIR] [--keep]
#
#     plain      one judge: every question is submitted once, every pair judged once, all of it at half the price
#     hard       a second judge for the unsure, repairs, lines that fail, batches that expire or are cut off while they
#                are made: every pair is judged, or says why not
#     on         a run that goes on for ever sends what has waited long enough, is stopped by SIGTERM and started again,
#                with money for a part of the questions at a time
#     changed    the topology names other judges while pairs wait: they come back and are judged by those
#     kills      SIGKILL again and again, also while batches are made whose making the server does not confirm: every
#                question is submitted once all the same, and the money is right to the cent
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
name=batch.sh
. tests/llm/common.sh

pairs=300 kills=12 seed=1
begin "$@"
RANDOM=$seed
topology=$dir/batch.yaml
cat >"$topology" <<END
topology: batch
partitions: 2
metrics: { listen: "127.0.0.1:0" }
drain: 1s
stream: { commit_every: 20ms }
ingest: { to: pairs.raw, ties: pairs.ties }
prices: { m: { prompt: 1, completion: 2 }, n: { prompt: 1, completion: 2 } }
endpoints:
  judge: { url: "\${JUDGE_URL}", key: "\${JUDGE_KEY}", model: m, batch: true, batch_requests: 80, batch_poll: 100ms, budget: 100 }
  other: { url: "\${JUDGE_URL}", key: "\${JUDGE_KEY}", model: n, batch: true, batch_requests: 80, batch_poll: 100ms, budget: 100 }
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
END
server --price-prompt 1 --price-completion 2 --batch-ms 400 --models 'm accuracy=0.9,n accuracy=0.9'

anew() { # SETTINGS
	control "{\"reset\": true, $1}"
	rm -rf "$dir/data"
	fill "$dir/data" "$pairs" "$seed"
}

# compare WHAT EXPRESSION: over the server's stats (s), the step's calls (c) and the records of topics (n).
compare() {
	local said
	curl -sS "http://127.0.0.1:$port/stats" >"$dir/stats"
	"$sluice" status -t "$topology" --data "$dir/data" --json >"$dir/status"
	said=$(python3 - "$dir/stats" "$dir/status" "$2" <<-'END'
		import json, sys
		s, d = (json.load(open(f)) for f in sys.argv[1:3])
		c = [x["calls"] for x in d["steps"] if "calls" in x][0]
		n = {t["name"]: t["records"] for t in d["topics"]}
		print("yes" if eval(sys.argv[3]) else f"server {s}\nproduct {c}\ntopics {n}")
	END
	)
	[[ $said == yes ]] || die "seed $seed: $1: not $2: $said"
}

# Every pair that went in was judged once.
all_judged() {
	"$records" "$topology" "$dir/data" >"$dir/records"
	awk '
		$1 == "pairs.unique" { n++; open[$2] = 1 }
		$1 == "pairs.judged" { if (!($2 in open) || seen[$2]++) { print "judged twice, or out of nowhere:", $2; bad = 1 } m++ }
		/^dead\./ { print "dead letter:", $0; bad = 1 }
		END { if (n != m || n == 0) { printf "%d pairs, %d judged\n", n, m; exit 1 } exit bad }' "$dir/records" >"$dir/diff" ||
		die "seed $seed: $1: $(head -n 3 "$dir/diff")"
}

figures() {
	say "$1: $(python3 - "$dir/stats" "$dir/status" <<-'END'
		import json, sys
		s, d = (json.load(open(f)) for f in sys.argv[1:3])
		c = [x["calls"] for x in d["steps"] if "calls" in x][0]
		print(f"{s['files']} files, {s['batches']} batches of {s['batched']} questions, {s['paid']} paid of {s['distinct_paid']} distinct;",
		      f"product: {c['answers']} answers, {c['spent']:.6f} dollars for {s['dollars']:.6f}")
	END
	)"
}

plain() {
	anew '"batch_cut": 0'
	run "$dir/data" --until-idle
	run_ends
	all_judged plain
	compare plain "s['batched'] == s['distinct_paid'] == s['paid'] == c['answers'] and s['files'] == s['batches']"
	compare plain "abs(s['dollars'] - c['spent']) <= 1e-6 * s['paid'] and c['reserved'] == 0 and c['parked'] == 0"
	figures plain
}

submitted() { [[ $(calls_of "$dir/data" batches) == *"'submitted'"* ]]; }

hard() {
	anew '"batch_cut": 0.3, "faults": "500=0.05,bad_json=0.05,refusal=0.03", "ties": 0.2'
	run "$dir/data" --until-idle --set annotate.second=other
	within 20 submitted || die "seed $seed: hard: nothing is submitted"
	control '{"end_batches": "expired"}' # half of their lines have no answer
	run_ends
	all_judged hard
	compare hard "s['paid'] == s['distinct_paid'] and c['reserved'] == 0 and c['parked'] == 0 and c['batches'] == []"
	compare hard "abs(s['dollars'] - c['spent']) <= 1e-6 * s['paid']"
	figures hard
}

on() {
	anew '"batch_cut": 0, "faults": "", "ties": 0'
	sed -e 's/batch_requests: 80, batch_poll: 100ms, budget: 100/batch_wait: 200ms, batch_poll: 100ms, budget: 0.3/' \
		"$dir/batch.yaml" >"$dir/poor.yaml"
	topology=$dir/poor.yaml
	judged() { [[ $(status "$dir/data" "sum(p['out'] for s in d['steps'] for p in s['ports'] if p['port'] == 'judged')") -ge $1 ]]; }
	run "$dir/data"
	within 60 judged $((pairs / 4)) || die "seed $seed: on: nothing is judged"
	run_stop
	run "$dir/data"
	within 60 judged "$pairs" || die "seed $seed: on: $(status "$dir/data" d)"
	run_stop
	topology=$dir/batch.yaml
	all_judged on
	compare on "s['batched'] == s['distinct_paid'] == s['paid'] == c['answers'] and s['batches'] > 2"
	compare on "abs(s['dollars'] - c['spent']) <= 1e-6 * s['paid'] and c['reserved'] == 0 and c['parked'] == 0"
	figures on
}

changed() {
	anew '"batch_cut": 0, "batch_ms": 100000'
	run "$dir/data" --until-idle
	within 20 submitted || die "seed $seed: changed: nothing is submitted"
	kill -9 "$run_pid"
	wait "$run_pid" 2>/dev/null || true
	# Who looks with another topology changes nothing.
	"$sluice" status -t "$topology" --data "$dir/data" --set annotate.backend=nearest --set annotate.judges= >/dev/null
	compare changed "c['parked'] > 0 and c['spent'] == 0 and c['reserved'] > 0"
	run "$dir/data" --until-idle --set annotate.backend=nearest --set annotate.judges=
	run_ends
	all_judged changed
	compare changed "c['parked'] == 0 and c['spent'] > 0 and c['reserved'] == 0"
	figures changed
}

killed() {
	local i code dead=0
	anew '"batch_cut": 0.3, "batch_ms": 1500'
	sed -e 's/batch_requests: 80/batch_requests: 20/' "$dir/batch.yaml" >"$dir/small.yaml"
	topology=$dir/small.yaml
	for ((i = 0; i < kills; i++)); do
		run "$dir/data" --until-idle
		sleep "0.$(printf %03d $((RANDOM % 300 + 50)))"
		kill -9 "$run_pid" 2>/dev/null || true
		code=0
		wait "$run_pid" 2>/dev/null || code=$?
		run_pid=''
		[[ $code -eq 137 || $code -eq 0 ]] || die "run ended with $code"
		dead=$((dead + (code == 137)))
	done
	run "$dir/data" --until-idle
	run_ends
	all_judged kills
	compare kills "s['batched'] == s['distinct_paid'] == s['paid'] == c['answers'] and s['files'] >= s['batches']"
	compare kills "abs(s['dollars'] - c['spent']) <= 1e-6 * s['paid'] and c['reserved'] == 0 and c['parked'] == 0"
	figures "$dead kills"
}

plain
hard
on
changed
killed
server_stop
