# shellcheck shell=bash disable=SC2154
# common.sh -- what the scripts here share: options, a folder, a scripted server, `sluice run`, and waiting. They source
# it, set `name` and `topology`, and call `begin "$@"`. Waiting is polling with a bound; nothing has a fixed port.

build=.build/release keep=no server_pid='' run_pid='' extra_pid=''

say() { printf '%s: %s\n' "$name" "$*"; }

die() {
	printf '%s: %s\n' "$name" "$*" >&2
	[[ ! -s $dir/run.log ]] || tail -n 15 "$dir/run.log" >&2
	keep=yes
	exit 1
}

skip() {
	printf 'skipped: %s: %s\n' "$name" "$*"
	exit 77
}

leave() {
	local pid
	# A child that is killed before it is another program would clean up for all.
	[[ $BASHPID -eq $$ ]] || return 0
	for pid in "$run_pid" "$server_pid" "$extra_pid"; do
		[[ -z $pid ]] || kill -9 "$pid" 2>/dev/null || true
		[[ -z $pid ]] || wait "$pid" 2>/dev/null || true
	done
	if [[ $keep == yes ]]; then echo "$name: left in $dir" >&2; else rm -rf "$dir"; fi
}

# begin "$@": options that are a variable of the caller take a value, --keep none.
begin() {
	while [[ $# -gt 0 ]]; do
		local option=${1#--}
		case $1 in
		--keep) keep=yes ;;
		--*)
			if [[ $1 == --help || -z ${!option+set} ]]; then
				sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p;}' "$0"
				[[ $1 == --help ]] && exit 0
				exit 2
			fi
			[[ $# -ge 2 ]] || { echo "$name: $1 needs a value" >&2; exit 2; }
			printf -v "$option" %s "$2"
			shift
			;;
		*) echo "$name: '$1' is no option; --help lists them" >&2; exit 2 ;;
		esac
		shift
	done
	sluice=$build/sluice llm=$build/tests/llm/sluice-llm sample=$build/tests/data/sluice-sample
	records=$build/tests/kafka/sluice-records
	for tool in "$sluice" "$llm" "$sample" "$records"; do
		[[ -x $tool ]] || { echo "$name: '$tool' is missing: build it first" >&2; exit 2; }
	done
	dir=$(mktemp -d "${TMPDIR:-/tmp}/sluice-llm-XXXXXX")
	trap leave EXIT
	export JUDGE_KEY=the-key JUDGE_URL=''
}

# within SECONDS COMMAND ...: until it succeeds.
within() {
	local deadline=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[[ $SECONDS -lt $deadline ]] || return 1
		sleep 0.05
	done
}

# server OPTION ...: a scripted server; JUDGE_URL is its address.
server() {
	: >"$dir/port"
	"$llm" --key "$JUDGE_KEY" "$@" >"$dir/port" 2>"$dir/server.log" &
	server_pid=$!
	within 10 test -s "$dir/port" || die "the server did not start: $(cat "$dir/server.log")"
	port=$(cat "$dir/port")
	JUDGE_URL=http://127.0.0.1:$port/v1
}

server_stop() {
	kill "$server_pid" 2>/dev/null || true
	wait "$server_pid" 2>/dev/null || true
	server_pid=''
}

control() { # JSON
	[[ $(curl -sS "http://127.0.0.1:$port/control" -d "$1") == '{"done":true}' ]] || die "the server refuses $1"
}

# of JSON-EXPRESSION <JSON: d is the document.
of() {
	python3 -c "import json, sys; d = json.load(sys.stdin); print($1)"
}

stat_of() { # NAME
	curl -sS "http://127.0.0.1:$port/stats" | of "d['$1']"
}

# A chain of one question per pair, in file $1: the answers to attributes are of every kind, and no model is needed.
# $2: more settings of the endpoint, $3: more lines.
write_topology() {
	cat >"$1" <<-END
		topology: llm
		partitions: 2
		metrics: { listen: "127.0.0.1:0" }
		drain: 2s
		stream: { commit_every: 20ms }
		ingest: { to: pairs.raw, ties: pairs.ties }
		prices: { m: { prompt: 1, completion: 2 } }
		endpoints:
		  judge: { url: "\${JUDGE_URL}", key: "\${JUDGE_KEY}", model: m${2:-} }
		steps:
		  - name: dedupe
		    from: pairs.raw
		    to: { unique: pairs.unique, duplicate: pairs.duplicate, conflict: pairs.conflict, contaminated: pairs.contaminated }
		  - name: attributes
		    from: pairs.unique
		    to: { described: pairs.described }
		    endpoint: judge
		    prompt: $PWD/topology/prompts/attributes.txt
		${3:-}
	END
}

# fill FOLDER PAIRS SEED: generated pairs, ingested.
fill() {
	"$sample" --pairs "$2" --seed "$3" --gold-share 0 --mean-bytes 900 --duplicates 0 --near 0 --conflicts 0 \
		--contaminated 0 --broken 0 -o "$dir/sample" >/dev/null
	"$sluice" ingest -t "$topology" --data "$1" --time 2026-01-01T00:00:00Z "$dir/sample/raw.jsonl" >/dev/null 2>&1
}

run() { # FOLDER ARGUMENT ...: in the background
	local folder=$1
	shift
	"$sluice" run -t "$topology" --data "$folder" "$@" >"$dir/run.log" 2>&1 &
	run_pid=$!
}

run_ends() { # to the end, well
	local code=0
	wait "$run_pid" || code=$?
	run_pid=''
	[[ $code -eq 0 ]] || die "run ended with $code"
}

run_stop() { # SIGTERM must end it well
	kill -TERM "$run_pid"
	run_ends
}

status() { # FOLDER EXPRESSION
	"$sluice" status -t "$topology" --data "$1" --json | of "$2"
}

calls_of() { # FOLDER NAME: a count of the step's calls
	status "$1" "[s['calls']['$2'] for s in d['steps'] if 'calls' in s][0]"
}

# Every pair that went in came out once, in the same order within its partition: TOPOLOGY-FOLDER FROM TO
same_pairs() {
	"$records" "$topology" "$1" >"$dir/records"
	awk -v from="$2" -v to="$3" '
		$1 == from { a[++n] = $2 }
		$1 == to { b[++m] = $2 }
		/^dead\./ { print "dead letter:", $0; bad = 1 }
		END {
			if (n != m || n == 0) { printf "%s has %d pairs, %s has %d\n", from, n, to, m; exit 1 }
			for (i = 1; i <= n; i++) if (a[i] != b[i]) { printf "record %d is another pair\n", i; exit 1 }
			exit bad
		}' "$dir/records" >"$dir/diff" || die "$1: $(head -n 3 "$dir/diff")"
}
