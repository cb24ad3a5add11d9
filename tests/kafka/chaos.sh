#!/usr/bin/env bash
# chaos.sh -- the chain on three brokers through bad weather; in the end nothing is lost and nothing doubled.
#
#     tests/kafka/chaos.sh [--quick] [--minutes N] [--seed N] [--rate PAIRS] [--build DIR] [--sluice FILE] [--keep]
#
# Three workers share a frozen topology of 4 partitions while pairs come in, slice after slice. Meanwhile, at random:
#
#     kill      a worker dies by SIGKILL and comes back
#     wipe      the same, and its whole data folder is lost
#     stop      a worker is stopped for up to 40 s, long enough to be thrown out, and goes on: a zombie
#     broker    a broker dies by SIGKILL and is started again, one at a time
#     hang      worker 1 reaches no broker: what it sent hangs; later all goes on
#     reset     the same, but its connections are reset
#     join      a fourth worker comes, and later leaves
#     ingest    the process that brings pairs in dies by SIGKILL and does it again
#
# When the weather has cleared, the workers finish, and a checker that reads committed records compares with
# the embedded stream that was given the same input slice by slice: every record of every topic, each as often,
# all counts, no lag; and the stores: those that a fresh worker restores from nothing, and those of each worker that was
# in the weather. A task that commits nothing for two minutes, or a worker that ends by itself, is a failure too.
#
# --quick: everything at least once, in about a minute and a half. --sluice: another binary for the workers.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

build=.build/release minutes=5 seed=1 rate=30 quick=no keep=no worker_binary=''
while [[ $# -gt 0 ]]; do
	case $1 in
	--build | --minutes | --seed | --rate)
		[[ $# -ge 2 ]] || { echo "chaos.sh: $1 needs a value" >&2; exit 2; }
		declare "${1#--}=$2"
		shift
		;;
	--sluice)
		[[ $# -ge 2 ]] || { echo "chaos.sh: $1 needs a value" >&2; exit 2; }
		worker_binary=$2
		shift
		;;
	--quick) quick=yes minutes=1 ;;
	--keep) keep=yes ;;
	*)
		sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}"
		[[ $1 == --help || $1 == -h ]] && exit 0
		exit 2
		;;
	esac
	shift
done
readonly PARTITIONS=4 PATIENCE_MS=120000 SETTLE_SECONDS=300
dir=$(mktemp -d "${TMPDIR:-/tmp}/sluice-chaos-XXXXXX")
# shellcheck source=tests/kafka/chain.sh
source tests/kafka/chain.sh
# shellcheck source=tests/kafka/common.sh
source <(sed -n '/^free_ports()/,/^}/p' tests/kafka/common.sh)
proxy=$build/tests/kafka/sluice-proxy watch=$build/tests/kafka/sluice-watch
tools "$proxy" "$watch"
: "${worker_binary:=$sluice}"
sluice=$(realpath "$sluice") worker_binary=$(realpath "$worker_binary")
ulimit -c unlimited 2>/dev/null || true # workers run in $dir: a core is left there, with --keep or after a failure

declare -A pid=() state=() life=() port=() pace=()
bound=() feeder='' restarting='' broker=0 weather='' proxy_pid='' watch_pid=''
leave() {
	local w
	# A subshell that is ended before it has dropped our trap comes here too.
	[[ $BASHPID -eq $$ ]] || return 0
	trap '' TERM INT
	[[ -z $feeder ]] || kill "$feeder" 2>/dev/null || true
	kill "${pid[@]}" 2>/dev/null || true # timeout passes it on
	sleep 0.2
	for w in "${pid[@]}" $proxy_pid $watch_pid; do
		kill -9 "$w" 2>/dev/null || true
	done
	# shellcheck disable=SC2086
	wait "${pid[@]}" $feeder 2>/dev/null || true
	[[ -z $restarting ]] || wait "$restarting" 2>/dev/null || true
	bash tests/kafka/broker.sh stop "$dir/brokers" || true
	if [[ $keep == yes ]]; then
		echo "chaos.sh: seed $seed; left in $dir" >&2
	else
		rm -rf "$dir"
	fi
}
trap leave EXIT
RANDOM=$seed

now_ms() { date +%s%3N; }
between() { echo $(($1 + RANDOM % ($2 - $1 + 1))); } # MIN MAX

# happened KIND WHO: for the count and the time of recovery.
happened() {
	echo "$(now_ms) $1 $2" >>"$dir/events"
	printf '%5d s  %-7s %s\n' $((($(now_ms) - began) / 1000)) "$1" "$2"
}

# -- what is done later: lines of a time and a command

later=()
after() { # milliseconds, command ...
	later+=("$(($(now_ms) + $1)) ${*:2}")
}
do_due() { # all: whatever its time
	local item todo=("${later[@]}") now
	now=$(now_ms)
	later=()
	for item in "${todo[@]}"; do
		if [[ ${1:-} == all || ${item%% *} -le $now ]]; then
			# shellcheck disable=SC2086
			${item#* }
		else
			later+=("$item")
		fi
	done
}

# -- workers

worker() { # number, more arguments: in the background, its process in pid
	local w=$1 to=$bootstrap
	shift
	[[ $w != 1 ]] || to=$KAFKA_BEHIND_BOOTSTRAP
	life[$w]=$((${life[$w]:-0} + 1))
	(
		cd "$dir"
		exec "${bound[@]}" "$worker_binary" run -t kafka.yaml --data "worker-$w" --freeze --set "stream.brokers=$to" \
			--set "metrics.listen=127.0.0.1:${port[$w]}" "$@" >>"worker-$w.log" 2>&1
	) &
	pid[$w]=$!
	state[$w]=up
}

# What it has counted so far, before it forgets.
sample_counters() { # number
	local to=$dir/counters-$1-${life[$1]}
	curl -s --max-time 1 "http://127.0.0.1:${port[$1]}/metrics" >"$to.new" 2>/dev/null || return 0
	[[ ! -s $to.new ]] || mv "$to.new" "$to"
}

reap() { # number: its exit status in code
	code=0
	wait "${pid[$1]}" 2>/dev/null || code=$?
	unset "pid[$1]"
	state[$1]=down
}

ended_by_itself() { # number
	tail -n 30 "$dir/worker-$1.log" | cut -c1-300 >&2
	wrong "worker $1 ended by itself with $code"
}

check_workers() {
	local w
	for w in "${!pid[@]}"; do
		kill -0 "${pid[$w]}" 2>/dev/null || { reap "$w"; ended_by_itself "$w"; }
		[[ ${state[$w]} == stopped ]] || sample_counters "$w"
	done
}

kill_worker() { # number, yes: and its folder
	[[ ${state[$1]} == stopped ]] || sample_counters "$1"
	kill -9 "${pid[$1]}"
	reap "$1"
	[[ ${2:-} != yes ]] || rm -rf "$dir/worker-$1"
}

go_on() { # number, of a stopped one that may be dead by now
	if [[ ${state[$1]} == stopped ]]; then
		kill -CONT "${pid[$1]}"
		state[$1]=up
	fi
}

end_worker() { # number
	sample_counters "$1"
	kill -TERM "${pid[$1]}"
}

part() { # number: a worker that leaves for good
	[[ ${state[$1]} == up ]] || return 0
	end_worker "$1"
	happened leave "worker $1"
	reap "$1"
	[[ $code -eq 0 ]] || ended_by_itself "$1"
}

start_again() { # number
	[[ ${state[$1]} != down ]] || worker "$1"
}

# -- brokers and the network

broker_again() { # node
	bash tests/kafka/broker.sh restart "$dir/brokers" "$1" {proxy_in}>&- {watch_in}>&- &
	restarting=$!
}
broker_back() { # true: all brokers are up
	if [[ -n $restarting && ! -e /proc/$restarting ]]; then
		wait "$restarting" || wrong "broker $broker did not come back"
		restarting='' broker=0
	fi
	[[ $broker -eq 0 ]]
}
network() {
	echo "$1" >&"$proxy_in"
	[[ $1 != open ]] || weather=''
}

# -- input

# Slices are appended to what has been fed, and ingested: by the reference, then to Kafka until that has gone well.
feed() {
	local slice kind kills=0 tries status next child=''
	RANDOM=$((seed + 7))
	trap 'kill -9 $child 2>/dev/null; exit 1' TERM
	: >"$dir/fed"
	for slice in "$dir"/slices/*; do
		next=$(($(now_ms) + 1000))
		kind=${slice##*.}
		cat "$slice" >>"$dir/$kind.jsonl"
		local arguments=("$dir/$kind.jsonl")
		[[ $kind != gold ]] || arguments+=(--gold)
		"$sluice" ingest -t "$dir/embedded.yaml" --data "$dir/embedded" --time "$TIME" "${arguments[@]}" \
			>"$dir/feed.log" 2>&1 || return 1
		for ((tries = 0; ; tries++)); do
			[[ $tries -lt 100 ]] || return 1
			status=0
			"$sluice" ingest -t "$dir/kafka.yaml" --data "$dir/ingest" --time "$TIME" "${arguments[@]}" \
				>"$dir/feed.log" 2>&1 &
			child=$!
			if [[ $tries -eq 0 && $((RANDOM % 5)) -eq 0 ]]; then
				sleep "0.$(printf '%03d' $((RANDOM % 1000)))"
				! kill -9 $child 2>/dev/null || kills=$((kills + 1))
			fi
			wait $child 2>/dev/null || status=$?
			[[ $status -ne 0 ]] || break
			[[ $status -eq 137 ]] || cat "$dir/feed.log" >>"$dir/feed.failed"
		done
		echo "$kills" >>"$dir/fed"
		[[ ! -e $dir/calm ]] || return 0
		while [[ $(now_ms) -lt $next ]]; do
			sleep 0.1
		done
	done
}

# -- recovery: every task has committed since

readonly TASKS=$((1 + 5 * PARTITIONS))
committed_since() { # ms: how many tasks
	tail -n 5000 "$dir/watch" | awk -v since="$1" '$1 > since && !($2 in seen) { seen[$2]; n++ } END { print n + 0 }'
}

# What is due is done meanwhile. With a time: until all have committed since and nothing is left to be done.
pass() { # milliseconds [, since ms]
	local until=$(($(now_ms) + $1))
	while :; do
		do_due
		broker_back || true
		check_workers
		if [[ -n $feeder && ! -e /proc/$feeder ]]; then
			wait "$feeder" || { tail -n 5 "$dir/feed.log" >&2; wrong "ingest failed"; }
			feeder=''
		fi
		if [[ $# -gt 1 ]]; then
			if [[ ${#later[@]} -eq 0 ]] && broker_back && [[ $(committed_since "$2") -ge $TASKS ]]; then
				return
			fi
			if [[ $(now_ms) -ge $until ]]; then
				tail -n 5000 "$dir/watch" | awk -v since="$2" '$1 > since { print $2 }' | sort -u >"$dir/moved"
				cut -d' ' -f2 "$dir/watch" | sort -u | comm -23 - "$dir/moved" | tr '\n' ' ' >&2
				wrong "these tasks have committed nothing for $(($1 / 1000)) s"
			fi
		elif [[ $(now_ms) -ge $until ]]; then
			return
		fi
		sleep 0.2
	done
}

up() { # a worker that is up, of 1 to 3; chosen in chosen; false: none
	local w candidates=()
	for w in 1 2 3; do
		[[ ${state[$w]} != up ]] || candidates+=("$w")
	done
	[[ ${#candidates[@]} -gt 0 ]] || return 1
	chosen=${candidates[RANDOM % ${#candidates[@]}]}
}

# one KIND [MILLISECONDS]: it happens, if it can now; what undoes it is done so much later.
one() {
	local length=${2:-}
	case $1 in
	kill | wipe)
		up || return 1
		happened "$1" "worker $chosen"
		kill_worker "$chosen" "$([[ $1 != wipe ]] || echo yes)"
		after "${length:-$(between 0 3000)}" start_again "$chosen"
		;;
	stop)
		up || return 1
		: "${length:=$(between 1000 40000)}"
		happened stop "worker $chosen for $length ms"
		sample_counters "$chosen"
		kill -STOP "${pid[$chosen]}"
		state[$chosen]=stopped
		after "$length" go_on "$chosen"
		;;
	broker)
		[[ $broker -eq 0 ]] || return 1
		broker=$(between 1 3)
		happened broker "$broker"
		bash tests/kafka/broker.sh kill "$dir/brokers" "$broker"
		after "${length:-$(between 1000 10000)}" broker_again "$broker"
		;;
	hang | reset)
		[[ -z $weather && ${state[1]} == up ]] || return 1
		weather=$1
		: "${length:=$(between 1000 20000)}"
		happened "$1" "worker 1 for $length ms"
		network "$1"
		after "$length" network open
		;;
	join)
		[[ ${state[4]:-down} == down ]] || return 1
		happened join 'worker 4'
		worker 4
		after "${length:-$(between 5000 20000)}" part 4
		;;
	esac
}

# -- the run ----------------------------------------------------------------------------------

free_ports 7
front=("${ports[@]:0:3}")
for w in 1 2 3 4; do
	port[$w]=${ports[w + 2]}
done
brokers 3 --behind "$(IFS=,; echo "${front[*]}")"
exec {proxy_in}> >(exec "$proxy" "${front[0]}:$KAFKA_BEHIND_PORT_1" "${front[1]}:$KAFKA_BEHIND_PORT_2" \
	"${front[2]}:$KAFKA_BEHIND_PORT_3")
proxy_pid=$!

pairs=$((rate * (minutes * 60 + 60)))
prepare 2500 "$pairs"
topology embedded $PARTITIONS '{ kind: embedded }'
topology kafka $PARTITIONS "{ kind: kafka, brokers: '$bootstrap', prefix: chaos., replication: 3 }"
# As low as brokers allow, so that whoever is silent is really thrown out.
printf 'kafka: { session.timeout.ms: 6000, heartbeat.interval.ms: 1000 }\n' >>"$dir/kafka.yaml"
sed -i '/^metrics:/d' "$dir/kafka.yaml" # each worker has a port of its own
given embedded
given kafka
mkdir "$dir/slices"
split -l "$rate" -d -a 6 --additional-suffix=.raw "$dir/second/raw.jsonl" "$dir/slices/"
# Verified pairs come as often, in smaller slices: every tenth line of the sample is one.
split -l $((rate / 10 + 1)) -d -a 6 --additional-suffix=.gold "$dir/second/gold.jsonl" "$dir/slices/"
exec {watch_in}> >(exec "$watch" "$dir/kafka.yaml" >"$dir/watch" 2>"$dir/watch.log")
watch_pid=$!

began=$(now_ms)
: >"$dir/events"
echo "chaos.sh: seed $seed, $minutes minutes, $rate pairs/s"
for w in 1 2 3; do
	worker "$w"
done
feed &
feeder=$!
pass $PATIENCE_MS "$(now_ms)"
echo "chaos.sh: all tasks work after $((($(now_ms) - began) / 1000)) s"

weather_began=$(now_ms)
if [[ $quick == yes ]]; then
	since=$(now_ms)
	one kill 500 && pass $PATIENCE_MS "$since"
	since=$(now_ms)
	one stop 9000 && one join 12000 && pass $PATIENCE_MS "$since"
	since=$(now_ms)
	one broker 2000 && pass 1000 && one wipe 500 && pass $PATIENCE_MS "$since"
	since=$(now_ms)
	one hang 8000 && pass $PATIENCE_MS "$since"
	since=$(now_ms)
	one reset 2000 && pass $PATIENCE_MS "$since"
else
	kinds=(kill kill kill wipe stop stop broker broker hang reset join)
	while [[ $(now_ms) -lt $((weather_began + minutes * 60000)) ]]; do
		since=$(now_ms)
		one "${kinds[RANDOM % ${#kinds[@]}]}" || { pass 500; continue; }
		if [[ $((RANDOM % 5)) -lt 3 ]]; then
			pass $PATIENCE_MS "$since"
			pass "$(between 0 3000)"
		else
			pass "$(between 500 6000)"
		fi
	done
fi
weather_s=$((($(now_ms) - weather_began) / 1000))

echo "chaos.sh: the weather clears after $weather_s s"
do_due all
until broker_back; do sleep 0.2; done
since=$(now_ms)
pass $PATIENCE_MS "$since"
touch "$dir/calm"
[[ -z $feeder ]] || wait "$feeder" || { tail -n 5 "$dir/feed.log" >&2; wrong "ingest failed"; }
feeder=''
for w in "${!pid[@]}"; do
	end_worker "$w"
done
for w in "${!pid[@]}"; do
	reap "$w"
	[[ $code -eq 0 ]] || ended_by_itself "$w"
done
exec {watch_in}>&-

# Bounded; not by a subshell, whose sleep would outlive it and hold on to our output.
settle() { # worker ...: until idle
	local w bound=(timeout --signal=KILL "$SETTLE_SECONDS")
	for w in "$@"; do
		worker "$w" --until-idle
	done
	for w in "$@"; do
		reap "$w"
		[[ $code -ne 137 ]] || { tail -n 30 "$dir/worker-$w.log" >&2; wrong "worker $w is not idle after $SETTLE_SECONDS s"; }
		[[ $code -eq 0 ]] || ended_by_itself "$w"
	done
}
settle 1 2 3

# -- the checker -----------------------------------------------------------------------------------

tried "$sluice" run -t "$dir/embedded.yaml" --data "$dir/embedded" --until-idle --freeze
outcome embedded "$dir/embedded"
port[fresh]=${port[4]}
settle fresh
outcome kafka "$dir/worker-fresh"
same "through the weather" embedded "$dir/embedded" kafka "$dir/worker-fresh"
same_store "restored from nothing" embedded kafka
for w in 1 2 3; do
	settle "$w"
	"$dump" "$dir/kafka.yaml" "$dir/worker-$w" | grep '^store [sc]' >"$dir/worker.store" || wrong "no store of worker $w"
	same_store "of worker $w" embedded worker
done

# -- the report ---------------------------------------------------------------------------------------

counter() { # name with labels: over all lives of all workers
	cat "$dir"/counters-* | awk -v name="$1" '$1 == name { n += $2 } END { print n + 0 }'
}
events() { # kind
	awk -v kind="$1" '$2 == kind { n++ } END { print n + 0 }' "$dir/events"
}
for kind in kill wipe stop broker hang reset join leave; do
	pace[$kind]=$(events "$kind")
	[[ ${pace[$kind]} -gt 0 || $minutes -lt 5 && $quick == no ]] || wrong "there was no '$kind': the weather was too good"
done
echo "chaos.sh: survived: kill ${pace[kill]}, wipe ${pace[wipe]}, stop ${pace[stop]}, broker ${pace[broker]}," \
	"hang ${pace[hang]}, reset ${pace[reset]}, join ${pace[join]}, leave ${pace[leave]}, ingest $(tail -n 1 "$dir/fed")"
echo "chaos.sh: transactions: committed $(counter 'sluice_transactions_total{end="committed"}')," \
	"aborted $(counter 'sluice_transactions_total{end="aborted"}')," \
	"unknown $(counter 'sluice_transactions_total{end="unknown"}')," \
	"fenced $(counter 'sluice_transactions_total{end="fenced"}') (as far as seen before a kill)"
echo "chaos.sh: rebalances $(counter sluice_rebalances_total), partitions lost $(counter sluice_partitions_lost_total)," \
	"restores $(counter sluice_restores_total) of $(counter sluice_restore_records_total) records"
# From an event until every task has committed again: those still to come at the end do not count.
awk -v tasks=$TASKS '
	NR == FNR { at[++n] = $1; kind[n] = $2; next }
	{ for (i = n; i >= 1; i--) if ($1 > at[i] && !((i, $2) in seen)) { seen[i, $2]; if (++found[i] == tasks) took[i] = $1 - at[i] } }
	END { for (i = 1; i <= n; i++) if (i in took) print took[i], kind[i] }' "$dir/events" "$dir/watch" | sort -n >"$dir/took"
awk '{ ms[NR] = $1; kind[NR] = $2 } END { if (NR) printf \
	"chaos.sh: recovery (all tasks have committed again): median %.1f s, worst %.1f s (%s), of %d\n", \
	ms[int((NR + 1) / 2)] / 1000, ms[NR] / 1000, kind[NR], NR }' "$dir/took"
[[ ! -s $dir/feed.failed ]] || { echo "chaos.sh: ingest had to be repeated because of:"; sort "$dir/feed.failed" | uniq -c | cut -c1-200 | sort -rn | head -n 5; }
echo "chaos.sh: $(wc -l <"$dir/embedded.records") records in all topics and $(wc -l <"$dir/embedded.store") of the stores: the same"
