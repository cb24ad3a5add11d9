#!/usr/bin/env bash
# judges_throughput.sh -- thousands of judges' answers under way at once: how near to the limit in flight / latency, and
# what that costs.
#
#     tests/bench/judges_throughput.sh                    build, generate, measure: 3 minutes
#     tests/bench/judges_throughput.sh --build DIR        use the binaries in DIR as they are
#     tests/bench/judges_throughput.sh --in-flight 2000 --latency 1000 --pairs 40000 --out DIR
#
# The scripted server (tests/llm) answers every question after the same time.
#
#     endpoint   bench_endpoint_load: questions put to an endpoint, nothing else
#     run        sluice run --freeze on the chain of topology/judged.yaml with one judge that is asked about every pair,
#                without examples. All steps before annotate have done their work before the clock starts (annotate has
#                no money until then), so what is measured is annotate and filter with their commits
#     few        the same with a hundredth of the calls in flight at a hundredth of the latency: the rate is the same, so the
#                difference in memory is that of calls in flight
#
# A rate is taken between a quarter and nine tenths of the answers: a start is not a rate. Prints a table with the
# machine; judges nothing but the counts and the order of records, which must be that of annotate's input.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

build='' out='' in_flight=2000 latency=1000 pairs=40000 keep=yes server='' run=''

die() {
	printf 'judges_throughput.sh: %s\n' "$*" >&2
	exit 1
}

while [[ $# -gt 0 ]]; do
	case $1 in
	--build | --out | --in-flight | --latency | --pairs)
		[[ $# -gt 1 ]] || die "'$1' needs a value"
		option=${1#--}
		printf -v "${option/-/_}" %s "$2"
		shift
		;;
	-h | --help)
		sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}"
		exit 0
		;;
	*) die "unknown option '$1'; --help lists them" ;;
	esac
	shift
done
if [[ -z $build ]]; then
	build=.build/release
	bash docker/setup.sh
	cmake --preset release >/dev/null
	cmake --build --preset release --target sluice sluice-sample sluice-llm sluice-records bench_endpoint_load
fi
if [[ -z $out ]]; then
	out=$(mktemp -d "${TMPDIR:-/tmp}/sluice-throughput-XXXXXX")
	keep=no
fi
mkdir -p "$out"
leave() {
	for pid in "$run" "$server"; do
		[[ -z $pid ]] || kill "$pid" 2>/dev/null || true
		[[ -z $pid ]] || wait "$pid" 2>/dev/null || true
	done
	[[ $keep == yes ]] || rm -rf "$out"
}
trap leave EXIT

within() { # SECONDS COMMAND ...
	local deadline=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[[ $SECONDS -lt $deadline ]] || return 1
		sleep 0.2
	done
}

start_server() { # LATENCY-MS
	: >"$out/port"
	"$build/tests/llm/sluice-llm" --truth "$out/sample/truth.jsonl" --latency-ms "$1" >"$out/port" &
	server=$!
	within 10 test -s "$out/port" || die "the server does not start"
	export JUDGE_URL SECOND_URL=http://127.0.0.1:1/v1 JUDGE_KEY=none SECOND_KEY=none
	JUDGE_URL=http://127.0.0.1:$(cat "$out/port")/v1
}
stop_server() {
	awk '{ printf "%-44s %10.1f\n", "server: CPU, seconds", ($14 + $15) / 100 }' "/proc/$server/stat"
	kill "$server"
	wait "$server" 2>/dev/null || true
	server=''
}

printf '%s, %s cores, %s\n' "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)" "$(nproc)" \
	"$(git describe --always --dirty 2>/dev/null || echo no commit)"
printf '%s pairs, %s in flight, %s ms; load %s\n' "$pairs" "$in_flight" "$latency" "$(cut -d' ' -f1 /proc/loadavg)"
"$build/tests/data/sluice-sample" --pairs "$pairs" --seed 5 --gold-share 0 --mean-bytes 1500 --duplicates 0 --near 0 \
	--conflicts 0 --contaminated 0 --broken 0 -o "$out/sample" >/dev/null

echo '== endpoint'
start_server "$latency"
"$build/tests/bench/bench_endpoint_load" "$JUDGE_URL" "$pairs" "$in_flight" 4000 "$latency"
stop_server

sluice=$build/sluice topology=topology/judged.yaml
options() { # IN-FLIGHT BUDGET
	settings=(annotate.second=[] annotate.attributes=off annotate.examples=0 annotate.ahead=16 "annotate.budget=$2"
		"endpoints.first.in_flight=$1" endpoints.first.budget_per_day=-1 retrieve.probes=0 filter.without_gold=llm_only metrics=off)
	args=(-t "$topology" --data "$out/data")
	for setting in "${settings[@]}"; do
		args+=(--set "$setting")
	done
}
status() { "$sluice" status "${args[@]}" --json | python3 -c "import json, sys; d = json.load(sys.stdin); print($1)"; }
filled() { [[ $(status "sum(p['out'] for s in d['steps'] if s['name'] == 'retrieve' for p in s['ports'])") == "$pairs" ]]; }

options 1 0
start_server 0
rm -rf "$out/data"
"$sluice" ingest "${args[@]}" "$out/sample/raw.jsonl" >/dev/null 2>&1
"$sluice" run "${args[@]}" >"$out/run.log" 2>&1 &
run=$!
within 600 filled || die "annotate's input is not there: $(tail -n 3 "$out/run.log")"
kill -TERM "$run"
wait "$run" || die "run: $(tail -n 3 "$out/run.log")"
stop_server >/dev/null
mv "$out/data" "$out/filled"

measure() { # NAME IN-FLIGHT LATENCY-MS
	echo "== $1"
	rm -rf "$out/data"
	cp -a "$out/filled" "$out/data"
	options "$2" -1
	start_server "$3"
	"$sluice" run "${args[@]}" --freeze --until-idle >"$out/run.log" 2>&1 &
	run=$!
	python3 - "$run" "http://127.0.0.1:$(cat "$out/port")/stats" "$pairs" "$2" "$3" "$out/peak" <<-'END'
		import glob, json, sys, time, urllib.request
		pid, url, pairs, in_flight, latency_ms = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])

		def cpu():
		    by = {}
		    for path in glob.glob(f"/proc/{pid}/task/*/stat"):
		        try:
		            text = open(path).read()
		        except OSError:
		            continue
		        name, rest = text[text.index("(") + 1:text.rindex(")")], text[text.rindex(")") + 2:].split()
		        by[name] = by.get(name, 0) + (int(rest[11]) + int(rest[12])) / 100
		    return by

		def peak_kib():
		    try:
		        return int(next(l for l in open(f"/proc/{pid}/status") if l.startswith("VmHWM")).split()[1])
		    except (OSError, StopIteration):
		        return 0

		peak, samples, most = 0, [], 0
		while True:
		    peak = max(peak, peak_kib())
		    s = json.load(urllib.request.urlopen(url))
		    by, most = cpu(), s["working_most"]
		    if not by:
		        break
		    if pairs / 4 <= s["delivered"] <= pairs * 0.9:
		        samples.append((time.monotonic(), s["delivered"], by, s["working"]))
		    if s["delivered"] >= pairs:
		        break
		    time.sleep(0.1)
		(t0, n0, c0, _), (t1, n1, c1, _) = samples[0], samples[-1]
		rate, span = (n1 - n0) / (t1 - t0), t1 - t0
		row = lambda name, value: print(f"{name:<44} {value:>10}")
		row("calls/s", f"{rate:.0f}")
		row("limit: in flight / latency", f"{in_flight / latency_ms * 1e3:.0f}")
		row("in flight, as the server saw it: mean", f"{sum(x[3] for x in samples) / len(samples):.0f}")
		row("    most", most)
		total = sum(c1.values()) - sum(c0.values())
		row("CPU, per cent of a core", f"{100 * total / span:.0f}")
		for name in sorted(c1, key=lambda n: c0.get(n, 0) - c1[n])[:4]:
		    row(f"    of it threads '{name}'", f"{100 * (c1[name] - c0.get(name, 0)) / span:.0f}")
		row("CPU a call, microseconds", f"{1e6 * total / (n1 - n0):.0f}")
		row("most memory of the process, MiB", f"{peak / 1024:.0f}")
		print(peak, file=open(sys.argv[6], "w"))
	END
	wait "$run" || die "run: $(tail -n 3 "$out/run.log")"
	peak=$(cat "$out/peak")
	run=''
	stop_server
	"$build/tests/kafka/sluice-records" "$topology" "$out/data" >"$out/records"
	awk '$1 == "pairs.retrieved" { a[++n] = $2 } $1 == "pairs.judged" { b[++m] = $2 }
		END { if (n != m || n == 0) exit 1; for (i = 1; i <= n; i++) if (a[i] != b[i]) exit 1 }' "$out/records" ||
		die "pairs.judged is not pairs.retrieved in its order"
	printf '%-44s %10s\n' 'order of records' kept
}

measure run "$in_flight" "$latency"
many=$peak
measure few "$((in_flight / 100))" "$((latency / 100))"
awk -v a="$many" -v b="$peak" -v n="$in_flight" \
	'BEGIN { printf "== memory a call in flight, KiB: %.1f\n", (a - b) / (n - n / 100) }'
