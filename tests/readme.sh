#!/usr/bin/env bash
# readme.sh -- run every command of README.md's console blocks, in order, in an empty
# folder, and compare what it prints with what the README says.
#
#     tests/readme.sh BUILD            check
#     tests/readme.sh BUILD --kafka    the blocks "console kafka" instead, against the brokers of KAFKA_BOOTSTRAP
#     tests/readme.sh BUILD --write    put today's output into README.md
#
# A line "$ command" runs; the lines behind it, up to the next one, are its output. A line "..." stands for any
# number of lines. Standard error is not shown. Commands that end with & run on until the block
# ends; one whose output goes into a file is waited for until something is in it. `export` holds for all that
# follows. topology/ is there as in the repository.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$(cd "${1:?usage: readme.sh BUILD [--kafka] [--write]}" && pwd)
shift
write='' fence='```console'
for option in "$@"; do
	case $option in
	--kafka) fence='```console kafka' ;;
	--write) write=yes ;;
	*)
		echo "readme.sh: unknown option '$option'; known: --kafka --write" >&2
		exit 2
		;;
	esac
done
if [[ $fence == *kafka && -z ${KAFKA_BOOTSTRAP:-} ]]; then
	echo "skipped: no KAFKA_BOOTSTRAP (tests/kafka/broker.sh)" >&2
	exit 77
fi
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
export PATH="$build:$build/tests/data:$build/tests/llm:$PATH" NO_COLOR=1
cd "$work"
ln -s "$root/topology" topology

bad=0 by_hand=0 command='' expected='' inside=no
declare -a out=()

# Whether the output fits: "..." is a wildcard for whole lines.
fits() { # EXPECTED OUTPUT
	local pattern
	pattern=$(sed -e 's/[][\.*^$(){}?+|/]/\\&/g' <<<"$1" | awk '{ if ($0 == "\\.\\.\\.") print "(.*\n)?"; else printf "%s\n", $0 "\\n" }' | tr -d '\n')
	perl -0777 -e 'my ($p, $t) = @ARGV; exit($t =~ /\A$p\z/s ? 0 : 1)' -- "$pattern" "$2
"
}

finish() {
	[[ -n $command ]] || return 0
	local got status=0
	if [[ $command == *'&' ]]; then
		local file=${command##*> }
		bash -c "exec ${command%&}" >"$work/background.log" 2>&1 &
		# It serves once its socket answers; on Kafka nobody needs to wait for it.
		if [[ $command == *'> '* ]]; then
			for _ in $(seq 1000); do [[ ! -s ${file% &} ]] || break; sleep 0.01; done
		elif [[ $fence != *kafka ]]; then
			for _ in $(seq 1000); do sluice status >/dev/null 2>&1 && break; done
		fi
		got=''
	elif [[ $command == 'export '* ]]; then
		eval "$command"
		got=''
	else
		got=$(bash -c "$command" 2>"$work/errors.log") || status=$?
	fi
	if [[ $status -ne 0 ]]; then
		printf 'readme.sh: exit %d from: %s\n' "$status" "$command"
		cat "$work/errors.log"
		bad=1
	fi
	if [[ -n $write ]]; then
		if [[ $expected == *...* ]]; then out+=("${expected%$'\n'}"); elif [[ -n $got ]]; then out+=("$got"); fi
	fi
	if [[ -z $write || $expected == *...* ]] && ! fits "${expected%$'\n'}" "$got"; then
		printf 'readme.sh: the output of `%s` is not what README.md says\n--- README.md\n%s--- now\n%s\n' "$command" "$expected" "$got"
		if [[ -n $write ]]; then by_hand=1; else bad=1; fi
	fi
	command='' expected=''
}

while IFS= read -r line; do
	if [[ $line == "$fence" ]]; then
		inside=yes
	elif [[ $inside == yes && $line == '```' ]]; then
		finish
		kill $(jobs -p) 2>/dev/null || true
		wait
		inside=no
	elif [[ $inside == yes && $line == '$ '* ]]; then
		finish
		out+=("$line")
		command=${line#\$ }
		continue
	elif [[ $inside == yes ]]; then
		expected+=$line$'\n'
		continue
	fi
	out+=("$line")
done <"$root/README.md"

if [[ -n $write && $bad -eq 0 ]]; then
	printf '%s\n' "${out[@]}" >"$root/README.md"
fi
if [[ $by_hand -ne 0 ]]; then
	echo 'readme.sh: what has "..." has to be written by hand'
	bad=1
fi
if [[ $bad -eq 0 ]]; then
	echo "README.md tells the truth"
fi
exit $bad
