#!/usr/bin/env bash
# faults.sh -- a server that fails in every way, and a client that is killed: nothing is lost, nothing is doubled,
# nothing is paid twice that need not be, and no budget is overshot.
#
#     tests/llm/faults.sh                       a minute
#     tests/llm/faults.sh --minutes 10          as long as you like
#     tests/llm/faults.sh --share 0.2 --pairs 400 --seed 1 --build DIR --keep
#
# Rounds of three, each on fresh pairs:
#
#     failures   a fifth of all requests fail: 408, 409, 429 with and without a time, 500, 503, resets, no answer, garbage,
#                half a body, a drip. Each pair comes out once and in order. What the server was paid for = the answers
#                that are kept + the attempts whose fate the product reports as unknown; money spent >= the server's bill
#     kills      `run` is killed with SIGKILL again and again, by a server that answers well, then by one that fails: what
#                the server was paid for <= what is distinct + calls reported as repeated
#     budget     money for a part of the calls, many under way, failures: the server's bill never goes over it
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
name=faults.sh
. tests/llm/common.sh

minutes=0 share=0.2 pairs=400 seed=1
begin "$@"
RANDOM=$seed
until_s=$((SECONDS + minutes * 60)) rounds=0 kills=0 asked=0
topology=$dir/llm.yaml
write_topology "$topology" ', in_flight: 128, timeout: 1s, retries: 8, budget: 100'
server --price-prompt 1 --price-completion 2 --sigma 0.3 --drip-ms 5

anew() { # FAULTS, LATENCY-MS: the server has seen nothing
	control "{\"reset\": true, \"faults\": \"$1\", \"latency_ms\": $2, \"seed\": $seed}"
	rm -rf "$dir/data"
	fill "$dir/data" "$pairs" "$seed"
}

# compare WHAT EXPRESSION: over the server's stats (s) and the step's calls (c).
compare() {
	local said
	curl -sS "http://127.0.0.1:$port/stats" >"$dir/stats"
	"$sluice" status -t "$topology" --data "$dir/data" --json >"$dir/status"
	said=$(python3 - "$dir/stats" "$dir/status" "$2" <<-'END'
		import json, sys
		s, d = (json.load(open(f)) for f in sys.argv[1:3])
		c = [x["calls"] for x in d["steps"] if "calls" in x][0]
		print("yes" if eval(sys.argv[3]) else f"server {s}\nproduct {c}")
	END
	)
	[[ $said == yes ]] || die "seed $seed: $1: not $2: $said"
}

# figures WHAT: what came of it.
figures() {
	asked=$((asked + $(stat_of requests)))
	say "$1: $(python3 - "$dir/stats" "$dir/status" <<-'END'
		import json, sys
		s, d = (json.load(open(f)) for f in sys.argv[1:3])
		c = [x["calls"] for x in d["steps"] if "calls" in x][0]
		failed = s["requests"] - s["faults"]["none"]
		print(f"{s['requests']} requests, {failed} failed on purpose, {s['paid']} paid of {s['distinct_paid']} distinct;",
		      f"product: {c['answers']} answers, {c['unknown']} unknown, {c['repeated']} repeated, {c['lost']} lost,",
		      f"{c['spent']:.4f} dollars for {s['dollars']:.4f}")
	END
	)"
}

failures() {
	anew "all=$share" 20
	run "$dir/data" --until-idle
	run_ends
	same_pairs "$dir/data" pairs.unique pairs.described
	# An attempt that was reset before it was read looks like any other that broke off.
	compare failures "s['paid'] == c['answers'] + c['unknown'] - s['faults']['reset_before']"
	compare failures "s['dollars'] <= c['spent'] + 1e-6 and c['spent'] <= 100 and c['reserved'] == 0 and c['repeated'] == 0"
	figures "failures, seed $seed"
}

killed() { # FAULTS, COMPARISON
	local lives=0 code seen
	anew "$1" 300 # so that many are under way at a death
	for ((lives = 0; lives < 5; lives++)); do
		seen=$(($(stat_of requests) + RANDOM % (pairs / 4) + 1))
		run "$dir/data" --until-idle
		reached() { [[ $(stat_of requests) -ge $seen ]] || ! kill -0 "$run_pid"; }
		within 60 reached || die "seed $seed: the server is not asked"
		kill -9 "$run_pid" 2>/dev/null || true
		code=0
		wait "$run_pid" 2>/dev/null || code=$?
		run_pid=''
		[[ $code -eq 137 || $code -eq 0 ]] || die "run ended with $code"
		kills=$((kills + (code == 137)))
	done
	run "$dir/data" --until-idle
	run_ends
	same_pairs "$dir/data" pairs.unique pairs.described
	compare kills "$2 and s['dollars'] <= c['spent'] + 1e-6 and c['reserved'] == 0"
	figures "kills, faults '$1', seed $seed"
}

budget() {
	local most
	most=$(awk -v n="$pairs" 'BEGIN { print n * 0.0006 }') # the whole costs about 0.001 each
	anew "all=$share" 20
	sed -e "s/budget: 100/budget: $most/" "$dir/llm.yaml" >"$dir/poor.yaml"
	topology=$dir/poor.yaml
	run "$dir/data"
	spent() { [[ $(status "$dir/data" "any(s['state'] == 'no_budget' or 'budget' in s.get('why', '') for s in d['steps'])") == True ]]; }
	within 60 spent || die "seed $seed: nobody says that the budget is spent: $(status "$dir/data" d)"
	compare budget "s['dollars'] <= $most and c['spent'] + c['reserved'] <= $most + 1e-9"
	kill -9 "$run_pid" # with a full purse of reservations
	wait "$run_pid" 2>/dev/null || true
	run "$dir/data"
	within 60 spent || die "seed $seed: after a kill nobody says that the budget is spent"
	compare budget "s['dollars'] <= $most and c['spent'] + c['reserved'] <= $most + 1e-9"
	figures "budget of $most, seed $seed"
	run_stop
	topology=$dir/llm.yaml # a richer one goes on where it stood
	run "$dir/data" --until-idle
	run_ends
	same_pairs "$dir/data" pairs.unique pairs.described
}

while [[ $rounds -eq 0 || $SECONDS -lt $until_s ]]; do
	failures
	killed '' "s['paid'] <= s['distinct_paid'] + c['repeated'] + c['unknown']"
	# What a dead process tried several times it cannot tell any more: each of its calls stands for up to 9 attempts.
	killed "all=$share" "s['paid'] <= c['answers'] + c['unknown'] + 9 * (c['repeated'] + c['lost'])"
	budget
	rounds=$((rounds + 1)) seed=$((seed + 1))
done
server_stop
say "$rounds rounds, $kills kills, $asked requests in $SECONDS s: nothing lost, nothing doubled, no budget overshot"
