#!/usr/bin/env bash
# states.sh -- what can be wrong with a server of models, one thing after the other, while one `sluice run` goes on:
# each has a word in `status --json` and in the metrics, nothing wrong is kept as an answer, and when the server is
# well again so is the work, without a restart; with a larger budget in the file after `sluice reload`.
#
#     tests/llm/states.sh [--build DIR] [--keep]
#
#     unauthorized  the key is wrong              not_found    the model is unknown
#     unreachable   nobody listens                certificate  TLS with a certificate that is not trusted
#     failing       500, 503                      throttled    429            quota  429: no money left
#     too_long      the prompt is too long        malformed    the reply is not JSON
#     no_budget     there is no money
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
name=states.sh
. tests/llm/common.sh

begin "$@"
wellformed=$build/tests/llm/sluice-wellformed topology=$dir/llm.yaml
write_topology "$topology" ', in_flight: 8, timeout: 5s, connect_timeout: 1s, retries: 3, budget: 10'
lot=0 came=0

more() { # 10 new pairs, to the running process
	lot=$((lot + 1)) came=$((came + 10))
	fill "$dir/data" 10 "$lot"
}

state() { status "$dir/data" "d['endpoints'][0]['state']"; }
in_state() { [[ $(state) == "$1" ]]; }
described() { status "$dir/data" "sum(p['out'] for s in d['steps'] for p in s['ports'] if p['port'] == 'described')"; }
all_described() { [[ $(described) == "$came" ]]; }
code() { status "$dir/data" "sum(p['codes'].get('$1', 0) for s in d['steps'] for p in s['ports'])"; }
metrics() {
	local at
	at=$(sed -n 's/.*metrics at port \([0-9]*\).*/\1/p' "$dir/run.log" | tail -n 1)
	curl -sS "http://127.0.0.1:$at/metrics"
}
metric() { # NAME-WITH-LABELS: its value
	metrics | awk -v name="$1" '$1 == name { print $2 }'
}

# away WORD BREAK MEND: while it is broken nothing is answered and nothing kept; then all is.
away() {
	local kept
	$2
	kept=$(calls_of "$dir/data" answers)
	more
	within 20 in_state "$1" || die "with $2 the state is '$(state)', not '$1'"
	[[ $(metric "sluice_endpoint_state{endpoint=\"judge\",state=\"$1\"}") == 1 ]] || die "no metric says $1"
	[[ $(metric 'sluice_endpoint_state{endpoint="judge",state="ok"}') == 0 ]] || die "a metric says ok with $2"
	[[ -n $(status "$dir/data" "d['endpoints'][0]['why']") ]] || die "$1 without a word about why"
	[[ $(calls_of "$dir/data" answers) == "$kept" ]] || die "something was kept as an answer with $2"
	$3
	within 60 all_described || die "after $2 the work does not go on: $(described) of $came; $(state)"
	within 20 in_state ok || die "after $2 the state is '$(state)'"
	kept=$(($(calls_of "$dir/data" answers) - kept)) # pairs of one prompt share a question
	[[ $kept -ge 1 && $kept -le 10 ]] || die "after $2 $kept more answers are kept for 10 more pairs"
	metrics | "$wellformed" || die "the metrics are not well formed after $2"
	said="$said $1"
}

# passing CODE SETTINGS: pairs pass without attributes, and say why.
passing() {
	local kept before
	kept=$(calls_of "$dir/data" answers) before=$(code "$1")
	control "$2"
	more
	within 30 all_described || die "with $2 the pairs wait: $(described) of $came, $(state)"
	[[ $(code "$1") == $((before + 10)) ]] || die "with $2 $(code "$1") pairs say $1"
	[[ $(calls_of "$dir/data" answers) == "$kept" ]] || die "a reply that is no answer was kept with $2"
	control '{"context": 0, "faults": ""}'
	more # the next ones are well
	within 30 all_described || die "after $2 the work does not go on"
	[[ $(code "$1") == $((before + 10)) ]] || die "after $2 pairs still say $1"
	said="$said $1"
}

wrong_key() { control '{"key": "another"}'; }
right_key() { control "{\"key\": \"$JUDGE_KEY\"}"; }
wrong_model() { control '{"models": "another"}'; }
right_model() { control '{"models": ""}'; }
faulty() { control "{\"faults\": \"$1=1\"}"; }
all_500() { faulty 500; }
all_503() { faulty 503; }
all_429() { faulty 429_seconds; }
no_quota() { faulty quota; }
no_faults() { control '{"faults": ""}'; }
gone() { server_stop; }
back() { server --port "$port"; }

said=''
# A truth with broken records in it: they are counted, and no reason to stop.
"$sample" --pairs 2000 --seed 3 -o "$dir/truth" >/dev/null
server --truth "$dir/truth/truth.jsonl"
[[ $(stat_of truths_broken) -ge 1 ]] || die "no broken record in the truth of sluice-sample"
[[ $(($(stat_of truths) + $(stat_of truths_broken))) == $(wc -l <"$dir/truth/truth.jsonl") ]] || die "not all of the truth is known"
sed -i '/^  judge:/a\  other: { url: "${JUDGE_URL}", key: "${JUDGE_KEY}", model: n, budget: 5 }' "$topology"
sed -i 's/^prices: {/& n: { prompt: 1, completion: 2 },/' "$topology"
more
run "$dir/data"
within 30 all_described || die "nothing works even with a server that is well"
metrics | "$wellformed" || die "the metrics are not well formed"
[[ $(metric 'sluice_endpoint_calls_total{endpoint="other"}') == 0 ]] || die "no metrics of the second endpoint"

for case in 'unauthorized wrong_key right_key' 'not_found wrong_model right_model' 'unreachable gone back' \
	'failing all_500 no_faults' 'failing all_503 no_faults' 'throttled all_429 no_faults' 'quota no_quota no_faults'; do
	read -r word break_ mend <<<"$case"
	away "$word" "$break_" "$mend"
done
passing too_long '{"context": 100}'
passing malformed '{"faults": "not_json=1"}'
[[ $(metric 'sluice_calls_malformed_total{step="attributes"}') -ge 1 ]] || die "no metric counts replies that are no JSON"
run_stop
server_stop

# TLS: another authority has signed the server's certificate than the one we trust; then the right one.
if command -v openssl >/dev/null; then
	for who in right wrong; do
		openssl req -x509 -newkey rsa:2048 -nodes -keyout "$dir/$who.key" -out "$dir/$who.pem" -days 2 \
			-subj "/CN=$who" -addext 'subjectAltName=IP:127.0.0.1' >/dev/null 2>&1
	done
	tls() { server --tls-cert "$dir/$1.pem" --tls-key "$dir/$1.key" "${@:2}"; }
	wrong_certificate() { server_stop; tls wrong --port "$port"; }
	right_certificate() { server_stop; tls right --port "$port"; }
	write_topology "$topology" ", ca: $dir/right.pem, in_flight: 8, timeout: 5s, retries: 3, budget: 10"
	tls right
	JUDGE_URL=https://127.0.0.1:$port/v1
	secure=$JUDGE_URL
	run "$dir/data"
	away certificate wrong_certificate right_certificate
	[[ $secure == "https://127.0.0.1:$port/v1" ]]
	run_stop
	server_stop
else
	echo "skipped: $name: certificates need openssl"
fi

# No money at all, then too little: nothing more is sent, and a larger budget in the file is taken over by the process
# that runs. What else differs in the file waits, and a file with an error changes nothing. In a folder of its own, for
# what was spent counts.
same_pairs "$dir/data" pairs.unique pairs.described
rm -rf "$dir/data"
came=0
server
settings=', in_flight: 8, retries: 0'
write_topology "$topology" "$settings, budget: 0"
run "$dir/data"
more
step() { status "$dir/data" "[s for s in d['steps'] if s['name'] == 'attributes'][0]$1"; }
poor() { [[ $(step "['state']") == no_budget && $(step "['wait']") == *"budget of endpoint 'judge' is spent"*"run \`sluice reload\`"* ]]; }
budget_is() { [[ $(metric 'sluice_budget_dollars{endpoint="judge",per="all"}') == "$1" && $(status "$dir/data" "d['endpoints'][0]['budget']") == "$2" ]]; }
reload() { # WHAT-IT-SAYS
	local said_
	said_=$("$sluice" reload --data "$dir/data" 2>&1) || true
	[[ $said_ == *"$1"* ]] || die "reload says '$said_', not '$1'"
}
within 20 poor || die "nobody says that there is no budget: $(step '')"
[[ $(stat_of requests) == 0 ]] || die "something was sent without a budget"
write_topology "$topology" "$settings, budget: 10, bugdet: 3"
reload "nothing is changed: $topology:9:"
[[ $(metric 'sluice_budget_dollars{endpoint="judge",per="all"}') == 0.000000 ]] || die "a file with an error changed the budget"
write_topology "$topology" "$settings, budget: 0.03"
reload "endpoint 'judge': budget \$0 -> \$0.03"
budget_is 0.030000 0.03 || die "status or metrics do not know the new budget"
for ((i = 0; i < 8; i++)); do more; done
within 60 poor || die "nobody says that the budget is spent: $(step '')"
[[ $(stat_of requests) -ge 1 && $(described) -lt $came ]] || die "with a small budget $(described) of $came are described"
paid=$(stat_of requests)
write_topology "$topology" "$settings, budget: 0.02"
reload "endpoint 'judge': budget \$0.03 -> \$0.02"
poor || die "with a smaller budget the state is '$(step "['state']")'"
[[ $(stat_of requests) == "$paid" ]] || die "something was sent after the budget was made smaller"
write_topology "$topology" ', in_flight: 9, retries: 0, budget: 10'
reload "waits for a restart: endpoint 'judge': in_flight 8 -> 9"
within 60 all_described || die "with a budget $(described) of $came are described: $(step '')"
run_stop
[[ $(stat_of requests) == "$(stat_of distinct)" ]] || die "something was asked twice"
reload "nothing runs on data folder '$dir/data'"
said="$said no_budget"
same_pairs "$dir/data" pairs.unique pairs.described
say "told apart, and recovered from:$said"
