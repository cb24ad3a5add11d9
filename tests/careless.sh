#!/usr/bin/env bash
# careless.sh -- what a person in a hurry does to the program: a mistyped folder, a prompt file that is not there, a file
# of the wrong kind, output into a device. Each is answered at once, by name, and harms nothing. No server is needed.
#
#     bash tests/careless.sh PATH/TO/sluice        (from the root of the repository)
set -u
sluice=${1:?usage: careless.sh PATH/TO/sluice}
work=$(mktemp -d "${TMPDIR:-/tmp}/sluice-careless-XXXXXX")
failures=0
checks=0
trap '[ "$BASHPID" -ne $$ ] || rm -rf "$work"' EXIT

failed() {
	echo "FAILED: $*"
	failures=$((failures + 1))
}

# run EXPECTED_CODE WORD ...: runs sluice, keeps what it printed in $out and $err.
run() {
	local expected=$1 code
	shift
	timeout 120 "$sluice" "$@" >"$work/out" 2>"$work/err"
	code=$?
	out=$(cat "$work/out")
	err=$(cat "$work/err")
	checks=$((checks + 1))
	if [ "$code" -ne "$expected" ]; then
		failed "sluice $*: exit code $code, expected $expected"
		sed 's/^/    /' "$work/err"
	fi
}

# says TEXT: on either output. holds WORD ...: the test holds.
says() {
	checks=$((checks + 1))
	[[ $out$err == *"$1"* ]] || failed "expected '$1' in: $out$err"
}
holds() {
	checks=$((checks + 1))
	"$@" || failed "$*"
}

pairs() { # pairs FIRST LAST
	local i
	for i in $(seq "$1" "$2"); do
		printf '{"prompt":"What is %d plus %d?","chosen":"It is %d.","rejected":"Nobody knows, number %d."}\n' \
			"$i" "$i" $((2 * i)) "$i"
	done
}

cp -r topology "$work/mine"
data=$work/data
mine=(-t "$work/mine/curate.yaml" --data "$data" --set metrics=off)
pairs 1 20 >"$work/pairs.jsonl"

echo "-- a mistyped data folder"
for command in status 'export --topic pairs.curated' 'explain abcdef' 'gold wrong' 'models list' 'train gold' \
	'replay --topic dead.dedupe --into dedupe'; do
	# shellcheck disable=SC2086
	run 1 $command -t topology/curate.yaml --data "$work/dta"; says "cannot open data folder '$work/dta'"
	holds test ! -e "$work/dta"
done

echo "-- output into what is no plain file"
run 0 ingest "${mine[@]}" "$work/pairs.jsonl"
mkfifo "$work/pipe"
cat "$work/pipe" >"$work/through" &
run 0 export "${mine[@]}" --topic pairs.raw -o "$work/pipe"; says "20 records"
wait $!
holds test "$(wc -l <"$work/through")" -eq 20
holds test -p "$work/pipe"
ln -s through "$work/link"
for format in implicit avro; do
	run 0 export "${mine[@]}" --topic pairs.raw --format $format --limit 3 -o "$work/link"; says "3 records"
	holds test -L "$work/link"
done
run 0 gold "${mine[@]}" sample 2 --from pairs.raw -o "$work/link"; says "2 of 20"
holds test -L "$work/link"
holds test "$(wc -l <"$work/through")" -eq 2
run 1 export "${mine[@]}" --topic pairs.raw -o "$work"; says "$work"

echo "-- a file of another kind: what is wrong with its first bad line, and where the rest is"
printf 'prompt,chosen,rejected\na,b,c\n' >"$work/table.csv"
printf '[\n%s]\n' "$(pairs 1 1)" >"$work/array.json"
{ pairs 31 32 && printf '{"prompt":"%0600000d","chosen":"a","rejected":"b"}\n' 0; } >"$work/long.jsonl"
run 0 ingest "${mine[@]}" "$work/table.csv"; says "2 invalid"; says "line 1 is invalid: malformed: not JSON at byte 6"
says "sluice export --topic dead.ingest"
run 0 ingest "${mine[@]}" "$work/array.json"; says "line 1 is invalid: malformed: the JSON ends early"
run 0 ingest "${mine[@]}" "$work/long.jsonl"; says "2 pairs, 0 ties, 1 invalid"; says "line 3 is invalid: too-large"; says limits.entry
run 0 ingest "${mine[@]}" "$work/long.jsonl"; says "0 invalid, 3 ingested before"; holds test -z "$err"

echo "-- a step that was renamed, and other partitions, on a folder that is in use"
sed 's/- name: filter/- name: sieve\n    operator: filter/' topology/curate.yaml >"$work/mine/renamed.yaml"
renamed=(-t "$work/mine/renamed.yaml" --data "$data" --set metrics=off)
run 0 status "${renamed[@]}"; says "step 'sieve' is new to '$data'"; says "not in the topology: 'filter'"
run 0 status "${renamed[@]}"; holds test -z "$err"
run 1 status "${mine[@]}" --set partitions=7; says "topic 'pairs.unique' had 2 partitions when '$data' was written, and 7 in"

echo "-- a judge that cannot work is told of before there is a pair to judge"
export JUDGE_URL=http://127.0.0.1:9/v1 JUDGE_KEY=hunter2 SECOND_URL=http://127.0.0.1:9/v1 SECOND_KEY=hunter2
sed 's/{{candidate_1}}/{{candidate_one}}/' topology/prompts/preference.txt >"$work/mine/prompts/mine.txt"
while IFS='|' read -r set words; do
	judged=(-t "$work/mine/judged.yaml" --data "$work/judged" --set metrics=off --set "$set")
	run 2 plan "${judged[@]}"; says "$words"
	run 2 plan "${judged[@]}" --estimate "$work/pairs.jsonl"; says "$words"
	run 2 run "${judged[@]}"; says "$words"
done <<-END
	annotate.prompt=prompts/nine.txt|step 'annotate': option 'prompt': cannot open '$work/mine/prompts/nine.txt'
	annotate.prompt=prompts/mine.txt|mine.txt:32: unknown slot 'candidate_one'
	annotate.judges=[]|step 'annotate': backend 'llm' needs the option 'judges'
	annotate.extra={"top_p": 1}|write '"NAME": VALUE, ...', without braces
	dedupe.benchmarks=nine.jsonl|benchmark file '$work/mine/nine.jsonl'
END
holds test ! -e "$work/judged"

echo "careless: $checks checks, $failures failed"
[ "$failures" -eq 0 ]
