#!/usr/bin/env bash
# poison.sh -- a record that makes the process die ends as a dead letter, and the rest flows on.
#
#     tests/poison.sh PROGRAM        PROGRAM: sluice with the operator `fatal` (tests/sim), which abort()s
#                                    on a magic word
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

program=${1:?usage: tests/poison.sh PROGRAM}
dir=$(mktemp -d "${TMPDIR:-/tmp}/sluice-poison-XXXXXX")
trap 'rm -rf "$dir"' EXIT
ulimit -c 0

fail() {
	echo "poison.sh: $*" >&2
	sed 's/^/    /' "$dir/out" >&2
	exit 1
}

cat >"$dir/t.yaml" <<-'YAML'
	topology: poison
	metrics: off
	steps:
	  - { name: fatal, from: pairs.raw, to: { out: passed } }
	  - { name: tally, from: passed, to: { odd: odd, even: even } }
YAML
for ((i = 1; i <= 40; i++)); do
	word=question
	[[ $i -eq 8 || $i -eq 29 ]] && word=xyzzy
	printf '{"prompt": "%s %d", "chosen": "yes %d", "rejected": "no"}\n' "$word" "$i" "$i"
done >"$dir/in.jsonl"

"$program" ingest -t "$dir/t.yaml" --data "$dir/data" "$dir/in.jsonl" >"$dir/out" 2>&1 || fail "ingest failed"
deaths=0
until "$program" run -t "$dir/t.yaml" --data "$dir/data" --until-idle >"$dir/out" 2>&1; do
	deaths=$((deaths + 1))
	[[ $deaths -le 12 ]] || fail "still dying after $deaths runs"
done
# Three deaths for each; when the second word is in the same batch as the first, one record at a time goes on
# from there and a single death tells.
[[ $deaths -ge 3 && $deaths -le 6 ]] || fail "died $deaths times, expected 3 to 6"
export_count() { "$program" export -t "$dir/t.yaml" --data "$dir/data" --topic "$1" 2>"$dir/out" | wc -l; }
[[ $(export_count passed) -eq 38 ]] || fail "$(export_count passed) of 40 passed, expected 38"
[[ $(export_count odd) -eq 38 ]] || fail "$(export_count odd) counted, expected 38"
"$program" status -t "$dir/t.yaml" --data "$dir/data" --json >"$dir/out" 2>&1 || fail "status failed"
grep -Eq '"dead": ?2[,}]' "$dir/out" || fail "expected 2 dead letters of step fatal"
echo "poison.sh: dead letters after $deaths deaths, 38 others passed"
