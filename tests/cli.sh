#!/usr/bin/env bash
# cli.sh -- the program as a person or a script sees it: help, exit codes, bad input, a second
# run, and every command beside a running `run`. Needs only bash, coreutils and gzip.
#
#     bash tests/cli.sh PATH/TO/sluice        (from the root of the repository)
#
# Nothing sleeps for a fixed time: waiting is polling with a bound.
set -u
sluice=${1:?usage: cli.sh PATH/TO/sluice}
work=$(mktemp -d "${TMPDIR:-/tmp}/sluice-cli-XXXXXX")
owner=
failures=0
checks=0

finish() {
	[ -n "$owner" ] && kill -9 "$owner" 2>/dev/null
	rm -rf "$work"
}
trap finish EXIT

# run EXPECTED_CODE WORD ...: runs sluice, keeps what it printed in $out and $err.
run() {
	local expected=$1 code
	shift
	"$sluice" "$@" >"$work/out" 2>"$work/err"
	code=$?
	out=$(cat "$work/out")
	err=$(cat "$work/err")
	checks=$((checks + 1))
	if [ "$code" -ne "$expected" ]; then
		echo "FAILED: sluice $*: exit code $code, expected $expected"
		sed 's/^/    /' "$work/err"
		failures=$((failures + 1))
	fi
}

# says TEXT WHERE: the text is in $out or $err.
says() {
	checks=$((checks + 1))
	case "$2" in
	out) [[ $out == *"$1"* ]] && return ;;
	err) [[ $err == *"$1"* ]] && return ;;
	esac
	echo "FAILED: expected '$1' on std$2, got:"
	if [ "$2" = out ]; then sed 's/^/    /' "$work/out"; else sed 's/^/    /' "$work/err"; fi | head -20
	failures=$((failures + 1))
}

# until_true COMMAND ...: polls for at most 30 seconds.
until_true() {
	local tries=0
	until "$@" >/dev/null 2>&1; do
		tries=$((tries + 1))
		if [ $tries -gt 600 ]; then
			echo "FAILED: waited 30 s for: $*; what follows cannot work either"
			cat "$work/run.err" 2>/dev/null
			exit 1
		fi
		sleep 0.05
	done
}

pairs() { # pairs FIRST LAST [GOLD]
	local i
	for i in $(seq "$1" "$2"); do
		printf '{"prompt":"What is %d plus %d, and why would one want to know it?","chosen":"It is %d because the sum of both numbers is that.","rejected":"Nobody knows number %d, really."%s}\n' \
			"$i" "$i" $((2 * i)) "$i" "${3:-}"
	done
}

data=$work/data
mkdir "$data"
topology=(-t topology/curate.yaml --data "$data")
quiet=(--set metrics.listen=127.0.0.1:0)

echo "-- help and the command line"
run 0 --help; says "usage: sluice COMMAND" out
run 0 --version; says "sluice " out
run 2; says "usage: sluice COMMAND" err
run 2 frobnicate; says "unknown command 'frobnicate'" err
run 2 ingset; says "did you mean 'ingest'" err
for command in ingest run export status explain replay gold train models plan reload; do
	run 0 "$command" --help; says "usage: sluice $command" out; says "--topology" out
	run 2 "$command" --nonsense; says "unknown option '--nonsense'" err
done
run 2 ingest; says "usage: sluice ingest" err
run 2 ingest --gould x; says "did you mean '--gold'" err
run 2 ingest --source; says "needs a value" err
run 2 ingest --time noon x; says "--time wants" err
run 2 export "${topology[@]}"; says "needs --topic" err
run 2 export "${topology[@]}" --topic pairs.curatd; says "did you mean 'pairs.curated'" err
run 2 export "${topology[@]}" --topic pairs.curated --format xml; says "unknown format 'xml'" err
run 2 explain "${topology[@]}" xyz; says "explain wants an id" err
run 2 gold "${topology[@]}" smple; says "expected sample or wrong" err
run 2 gold "${topology[@]}" sample; says "needs a number of pairs" err
run 2 gold "${topology[@]}" wrong none; says "the number of pairs is 1 to" err
run 2 gold "${topology[@]}" sample 9 --from pairs.curatd; says "did you mean 'pairs.curated'" err
run 2 gold "${topology[@]}" sample 9 --json; says "-o FILE" err
run 2 gold "${topology[@]}" wrong --seed 3; says "belong to gold sample" err
run 2 models "${topology[@]}" lst; says "expected list, promote or rollback" err
run 2 train "${topology[@]}" silver; says "trains no model 'silver'" err
run 2 replay "${topology[@]}" --topic pairs.raw --into ddupe; says "did you mean 'dedupe'" err
run 2 run "${topology[@]}" --only dedup; says "did you mean 'dedupe'" err
run 2 reload --set annotate.budget=1; says "reload takes no --set" err
run 2 reload -t "$work/none.yaml"; says "none.yaml" err
run 1 reload "${topology[@]}"; says "nothing runs on data folder '$data'" err
run 2 reload now; says "usage: sluice reload" err

echo "-- topology files"
run 2 plan -t "$work/none.yaml"; says "$work/none.yaml" err
printf 'topology: x\nstepps: []\n' >"$work/bad.yaml"
run 2 plan -t "$work/bad.yaml"; says "bad.yaml:2" err
printf 'topology: [x\n' >"$work/bad.yaml"
run 2 run -t "$work/bad.yaml" --data "$data"; says "bad.yaml" err
run 2 plan --set dedupe.nonsense=1; says "nonsense" err
run 0 plan; says "pairs.curated" out
run 0 plan --json; says '"' out
pairs 1 20 >"$work/estimate.jsonl"
judged=(-t topology/judged.yaml --data "$work/judged")
export JUDGE_URL=http://127.0.0.1:9/v1 JUDGE_KEY=hunter2 SECOND_URL=http://127.0.0.1:9/v1 SECOND_KEY=hunter2
run 0 plan "${judged[@]}" --estimate "$work/estimate.jsonl"; says "20 pairs, 20 of them looked at" out; says "budget of step 'annotate'" out
run 0 plan "${judged[@]}" --estimate - --sample 5 --json <"$work/estimate.jsonl"; says '"sampled": 5' out
[ -e "$work/judged" ] && echo "FAILED: plan --estimate made a data folder" && failures=$((failures + 1))
run 0 plan --estimate "$work/estimate.jsonl" --data "$work/judged"; says "asks anybody" out
run 1 plan "${judged[@]}" --estimate "$work/none.jsonl"; says "none.jsonl" err
run 2 plan --sample 5; says "is for --estimate" err
kafka=(--set stream.kind=kafka --set stream.brokers=127.0.0.1:9)
run 0 plan --offline "${kafka[@]}"; says "curate.dedupe.changelog" out
run 1 plan "${kafka[@]}" --set kafka.acks=1; says "kafka.acks: Sluice sets it itself" err
run 2 plan --set stream.brokers=127.0.0.1:9; says "is for stream.kind 'kafka'" err
run 2 plan "${kafka[@]}" --set 'kafka.sasl.password=hunter2${'; says '--set kafka.sasl.password=***:' err

echo "-- ingest"
pairs 1 20 >"$work/chats.jsonl"
printf '{broken\n' >>"$work/chats.jsonl"
run 0 ingest "${topology[@]}" "$work/chats.jsonl"; says "21 lines, 20 pairs, 0 ties, 1 invalid" out
run 0 ingest "${topology[@]}" "$work/chats.jsonl"; says "0 lines, 0 pairs, 0 ties, 0 invalid, 21 ingested before" out
pairs 21 25 >>"$work/chats.jsonl"
run 0 ingest "${topology[@]}" --json "$work/chats.jsonl"; says '"lines": 5' out
sed -i '3s/plus/minus/' "$work/chats.jsonl"
run 1 ingest "${topology[@]}" "$work/chats.jsonl"; says "the file has changed" err; says "chats.jsonl" err
pairs 101 400 | gzip >"$work/whole.jsonl.gz"
head -c 1500 "$work/whole.jsonl.gz" >"$work/cut.jsonl.gz"
pairs 26 30 >"$work/more.jsonl"
run 1 ingest "${topology[@]}" --source cut "$work/cut.jsonl.gz" "$work/none.jsonl" "$work/more.jsonl"
says "cut.jsonl.gz" err; says "none.jsonl" err; says "more.jsonl: 5 lines, 5 pairs" out
cp "$work/whole.jsonl.gz" "$work/cut.jsonl.gz"
run 0 ingest "${topology[@]}" --source cut "$work/cut.jsonl.gz"; says "ingested before" out
pairs 31 32 | "$sluice" ingest "${topology[@]}" - >"$work/out" 2>"$work/err"
out=$(cat "$work/out"); says "-: 2 lines, 2 pairs" out
run 0 status "${topology[@]}"; says "333 lines of 4 files: 332 pairs, 0 ties, 1 invalid" out
run 0 status "${topology[@]}" --json; says '"pairs":332' out

echo "-- topics as files"
run 0 export "${topology[@]}" --topic pairs.raw -o "$work/raw.jsonl"; says "332 records" err
[ "$(wc -l <"$work/raw.jsonl")" -eq 332 ] || { echo "FAILED: raw.jsonl has not 332 lines"; failures=$((failures + 1)); }
run 0 export "${topology[@]}" --topic pairs.raw -o "$work/raw.avro" --format avro
[ "$(head -c 3 "$work/raw.avro")" = Obj ] || { echo "FAILED: raw.avro is no container"; failures=$((failures + 1)); }
run 2 export "${topology[@]}" --topic pairs.raw --format avro; says "-o FILE" err
run 0 export "${topology[@]}" --topic dead.ingest; says '"code":"malformed"' out; says '{broken' out
run 0 export "${topology[@]}" --topic pairs.raw --where source=stdin; says "2 records" err
run 0 export "${topology[@]}" --topic pairs.raw --limit 1 --format full
id=$(sed 's/.*"id":"\([0-9a-f]*\)".*/\1/' "$work/out")
run 0 explain "${topology[@]}" "${id:0:12}"; says "pair $id" out; says "chats.jsonl line 1" out
run 0 explain "${topology[@]}" "$id" --json; says '"topic": "pairs.raw"' out
run 1 explain "${topology[@]}" 000000000000; says "no record of this pair" err
# A stranger's text does not reach the terminal as a command to it.
printf '{"prompt":"say \\u001b[31mred\\u009b now","chosen":"a \\u001b]0;x\\u0007 b","rejected":"c d","meta":{"hostile":"yes"}}\n' >"$work/hostile.jsonl"
run 0 ingest "${topology[@]}" --data "$work/hostile" "$work/hostile.jsonl"
run 0 explain "${topology[@]}" --data "$work/hostile" --meta hostile=yes; says "say  [31mred   now" out; says "a  ]0;x  b" out
run 1 export "${topology[@]}" --topic pairs.raw -o "$work/none/raw.jsonl"; says "none/raw.jsonl" err
"$sluice" export "${topology[@]}" --topic pairs.raw 2>"$work/err" | head -1 >"$work/out"
err=$(cat "$work/err"); [ -z "$err" ] || { echo "FAILED: a closed pipe is not silent: $err"; failures=$((failures + 1)); }
[ ! -w /dev/full ] || { "$sluice" export "${topology[@]}" --topic pairs.raw >/dev/full 2>"$work/err"
	[ $? -eq 1 ] || { echo "FAILED: a full disk exits 0"; failures=$((failures + 1)); }; }

echo "-- beside a running run"
"$sluice" run "${topology[@]}" "${quiet[@]}" >"$work/run.out" 2>"$work/run.err" &
owner=$!
until_true grep -q "metrics at port" "$work/run.err"
running() { "$sluice" status "${topology[@]}" | head -1 | grep -q ", running"; }
until_true running
port=$(sed -n 's/.*metrics at port \([0-9]*\).*/\1/p' "$work/run.err")
get() { exec 3<>"/dev/tcp/127.0.0.1/$port" && printf 'GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' "$1" >&3 && cat <&3; }
out=$(get /metrics); says "sluice_step_records_in_total" out
out=$(get /readyz); says "200 OK" out
run 1 run "${topology[@]}" "${quiet[@]}"; says "one process at a time" err; says "LOCK" err; says "$owner" err
pairs 501 520 >"$work/late.jsonl"
run 0 ingest "${topology[@]}" "$work/late.jsonl"; says "20 lines, 20 pairs" out
run 0 ingest "${topology[@]}" "$work/late.jsonl"; says "20 ingested before" out
all_deduped() { "$sluice" status "${topology[@]}" | grep -q "^dedupe *352 in$"; }
until_true all_deduped
run 0 status "${topology[@]}" --by-source --by-domain; says "    from late: 20" out; says "    domain late: 20" out
run 0 export "${topology[@]}" --topic pairs.raw --where source=late; says "20 records" err
run 0 explain "${topology[@]}" "$id"; says "dedupe" out
run 0 models "${topology[@]}" list; says "gold" out

echo "-- the file is read again"
run 0 reload --data "$data"; says "no budget has changed" out; says "with the --set that it was started with" out
run 0 reload "${topology[@]}" --json; says '"changed":[],"waits":[]' out

echo "-- a sample for people, and back"
run 0 gold "${topology[@]}" sample 8 -o "$work/sample.jsonl" --json; says "8 of" err; says '"sampled": 8' out
run 0 gold "${topology[@]}" sample 3
cmp -s <(head -3 "$work/sample.jsonl") "$work/out" || { echo "FAILED: a larger sample does not contain the smaller one"; failures=$((failures + 1)); }
run 0 gold "${topology[@]}" sample 3 --seed 7
! cmp -s <(head -3 "$work/sample.jsonl") "$work/out" || { echo "FAILED: another seed, the same sample"; failures=$((failures + 1)); }
sed -i -e '1s/"sample":/"verdict":"rejected",&/' -e '2s/"sample":/"verdict":"tie",&/' \
	-e '3s/"chosen":\(.*\),"rejected":\(.*\),"source"/"chosen":\2,"rejected":\1,"source"/' "$work/sample.jsonl"
run 0 ingest "${topology[@]}" --gold "$work/sample.jsonl"; says "8 lines, 7 pairs, 1 ties" out
verified() { "$sluice" export "${topology[@]}" --topic pairs.gold --format full 2>/dev/null >"$work/gold.jsonl"; [ "$(wc -l <"$work/gold.jsonl")" -eq 7 ]; }
until_true verified
[ "$(grep -c '"sample":"random","label_arrived":"same"' "$work/gold.jsonl")" -eq 5 ] &&
	[ "$(grep -c '"sample":"random","label_arrived":"swapped"' "$work/gold.jsonl")" -eq 2 ] ||
	{ echo "FAILED: the sample did not learn how its labels arrived"; failures=$((failures + 1)); }
run 0 gold "${topology[@]}" sample 1000
! grep -qFf <(grep -o '^{"prompt":[^]]*]' "$work/sample.jsonl") "$work/out" || { echo "FAILED: what is gold is drawn again"; failures=$((failures + 1)); }
run 0 gold "${topology[@]}" wrong; says "no decided pair" err
run 1 models "${topology[@]}" promote gold 9; says "gold" err
run 0 replay "${topology[@]}" --topic dead.ingest --into dedupe; says "0 records" out
sed 's/^topology: curate/topology: other/' topology/curate.yaml >"$work/other.yaml"
run 1 status -t "$work/other.yaml" --data "$data"; says "served with topology 'curate', not 'other'" err
kill -TERM "$owner"
wait "$owner"
code=$?
owner=
[ $code -eq 0 ] || { echo "FAILED: SIGTERM ends run with $code"; cat "$work/run.err"; failures=$((failures + 1)); }
[ ! -e "$data/sluice.sock" ] || { echo "FAILED: the socket is left behind"; failures=$((failures + 1)); }

echo "-- an owner that is killed"
"$sluice" run "${topology[@]}" "${quiet[@]}" >"$work/run.out" 2>"$work/run.err" &
owner=$!
until_true running
kill -9 "$owner"
{ wait "$owner"; } 2>/dev/null
owner=
run 1 reload --data "$data"; says "nothing runs on data folder" err
run 0 status "${topology[@]}"; says "not running" out
run 0 export "${topology[@]}" --topic pairs.raw; says "359 records" err

echo "-- until idle"
run 1 run "${topology[@]}" "${quiet[@]}" --until-idle; says "gold" err
pairs 1001 1400 >"$work/people.jsonl"
run 0 ingest "${topology[@]}" --gold "$work/people.jsonl"; says "400 pairs" out
run 0 run "${topology[@]}" "${quiet[@]}" --until-idle; says "filter" out
run 0 models "${topology[@]}" list; says "first: " out
run 0 export "${topology[@]}" --topic pairs.gold; says "records of 'pairs.gold'" err
pairs 2001 2020 >"$work/more.jsonl"
run 0 ingest "${topology[@]}" "$work/more.jsonl"
run 0 run "${topology[@]}" "${quiet[@]}" --until-idle --set inline=pairs.embedded,pairs.scored,pairs.retrieved,pairs.judged
run 0 status "${topology[@]}" # which was not told of inline=
[[ $out =~ [[:space:]]embedded\ +([0-9]+) ]] && embedded=${BASH_REMATCH[1]}
for step in score retrieve annotate filter; do
	says "$(printf '%-9s %d in' $step "${embedded:-0}")" out
done
run 0 train "${topology[@]}" gold; says "by hand" out
run 0 models "${topology[@]}" rollback gold; says "rolled back by hand" out
run 0 replay "${topology[@]}" --topic pairs.raw --limit 3 --into dedupe; says "3 records" out

echo "$checks checks, $failures failures"
[ $failures -eq 0 ]
