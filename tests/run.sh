#!/usr/bin/env bash
# run.sh -- set up, build and test; the one command that CI runs too.
#
#     tests/run.sh                    every stage below, in this order
#     tests/run.sh release sim        only these
#     tests/run.sh --long             more cases, more kills, and the fuzz targets
#
#     release   everything but sim, kill, llm and kafka, as users build it
#     sim       whole topologies stepped through crashes at every commit point
#     kill      processes killed with SIGKILL, byte-compared with a run that was not
#     llm       models' servers that fail in every way, and a real one; skips what pip cannot have
#     demo      tests/demo.sh, from generated pairs to exported ones
#     kafka     the same topology on real brokers, through crashes; skips where Java, Maven or pip cannot be had
#     asan      all but sim, kill, llm and kafka under AddressSanitizer and UndefinedBehaviorSanitizer
#     tsan      base and topology, the folders with threads, under ThreadSanitizer
#     fuzz      libFuzzer, a minute on each parser of foreign bytes (only with --long or by name)
#
# CTest tests named "sim.", "kill.", "llm." and "kafka." belong to those stages, all others are unit
# tests. Tests that want to do more under --long read SL_LONG=1.
# The last line counts test cases: N passed, N failed, N skipped. Not zero: failed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly STAGES=(release sim kill llm demo kafka asan tsan)
JOBS=$(nproc)
passed=0 failed=0 skipped=0
declare -a stages=() failures=() skips=()

usage() {
	sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}"
}

say() {
	printf '\n== %s\n' "$*"
}

# build PRESET [BUILD-ARGUMENT...]: once each.
declare -A built=()
build() {
	local preset=$1
	shift
	if [[ -n ${built[$preset]:-} ]]; then
		return
	fi
	say "build $preset"
	mkdir -p .build
	if ! cmake --preset "$preset" >".build/$preset.log" 2>&1; then
		cat ".build/$preset.log"
		return 1
	fi
	cmake --build --preset "$preset" -j "$JOBS" "$@" || return 1
	built[$preset]=yes
}

# count PROGRESS LOG: what CTest printed, and what the tests printed. Counts the
# cases that cmocka reports, and a test without any as one case. Prints "passed
# failed skipped", then a line "failed NAME" or "skipped NAME" each.
count() {
	awk '
	function tests_in(line) { return match(line, /[0-9]+ test\(s\)/) ? substr(line, RSTART) + 0 : 0 }
	FNR == NR {
		if (match($0, /^ *[0-9]+\/[0-9]+ Test +#[0-9]+: /)) {
			split(substr($0, RLENGTH + 1), word, " ")
			name = word[1]
			order[++tests] = name
			status[name] = $0 ~ / Passed +[0-9.]+ sec/ ? "passed" : $0 ~ /\*\*\*Skipped/ ? "skipped" : "failed"
		}
		next
	}
	/^[0-9]+\/[0-9]+ Test: / { name = $3 }
	/^\[  PASSED  \] / { good[name] += tests_in($0) }
	/^\[  FAILED  \] / { bad[name] += tests_in($0) }
	/^\[  SKIPPED \] / {
		omitted[name] += tests_in($0)
		if (!tests_in($0) && !((name, $4) in had)) {
			had[name, $4] = 1
			lines[++n] = "skipped " name "." $4
		}
	}
	END {
		for (i = 1; i <= tests; i++) {
			name = order[i]
			if (status[name] == "failed" && !bad[name]) bad[name] = 1
			if (!good[name] && !bad[name] && !omitted[name]) {
				if (status[name] == "skipped") omitted[name] = 1
				else good[name] = 1
			}
			if (status[name] != "passed") lines[++n] = status[name] " " name
			sum_good += good[name]; sum_bad += bad[name]; sum_omitted += omitted[name]
		}
		print sum_good + 0, sum_bad + 0, sum_omitted + 0
		for (i = 1; i <= n; i++) print lines[i]
	}' "$1" "$2"
}

add() {
	local stage=$1 good=$2 bad=$3 omitted=$4
	printf '== %s: %d passed, %d failed, %d skipped\n' "$stage" "$good" "$bad" "$omitted"
	passed=$((passed + good)) failed=$((failed + bad)) skipped=$((skipped + omitted))
}

# suite STAGE PRESET CTEST-ARGUMENT...
suite() {
	local stage=$1 preset=$2 status=0 log progress what name good bad omitted
	shift 2
	if ! build "$preset"; then
		failures+=("$stage: the build of preset $preset")
		add "$stage" 0 1 0
		return
	fi
	say "test $stage"
	log=.build/$preset/Testing/Temporary/LastTest.log
	progress=.build/$preset/progress.log
	mkdir -p "${log%/*}"
	: >"$log"
	ctest --test-dir ".build/$preset" -j "$JOBS" --timeout 1200 --output-on-failure --no-tests=ignore "$@" 2>&1 |
		tee "$progress" || status=$?
	{
		read -r good bad omitted
		while read -r what name; do
			if [[ $what == failed ]]; then
				failures+=("$stage: $name")
			else
				skips+=("$stage: $name")
			fi
		done
	} < <(count "$progress" "$log")
	if [[ $status -ne 0 && $bad -eq 0 ]]; then # a test that never got as far as the log
		failures+=("$stage: ctest ended with $status")
		bad=1
	fi
	add "$stage" "$good" "$bad" "$omitted"
}

run_demo() {
	local out
	if ! build release; then
		failures+=("demo: the build of preset release")
		add demo 0 1 0
		return
	fi
	say "demo"
	out=$(mktemp -d)
	if bash tests/demo.sh --check --out "$out"; then
		add demo 1 0 0
	else
		failures+=("demo: tests/demo.sh")
		add demo 0 1 0
	fi
	rm -rf "$out"
}

run_llm() {
	if ! bash docker/setup.sh --llm; then
		failures+=("llm: docker/setup.sh --llm")
		add llm 0 1 0
		return
	fi
	suite llm release -R '^llm\.'
}

# The C tests share one broker; the scripts start what they need themselves.
run_kafka() {
	local dir status=0
	dir=$(mktemp -d)
	bash docker/setup.sh --kafka && bash tests/kafka/broker.sh start "$dir" || status=$?
	if [[ $status -ne 0 ]]; then
		if [[ $status -eq 77 ]]; then
			skips+=("kafka: tests/kafka/broker.sh")
			add kafka 0 0 1
		else
			failures+=("kafka: tests/kafka/broker.sh")
			add kafka 0 1 0
		fi
	else
		set -a
		# shellcheck disable=SC1091
		. "$dir/env"
		set +a
		suite kafka release -R '^kafka\.'
		bash tests/kafka/broker.sh stop "$dir"
	fi
	rm -rf "$dir"
}

run_fuzz() {
	local file name corpus good=0 bad=0
	local -a targets=()
	for file in tests/fuzz/fuzz_*.c; do
		targets+=("$(basename "$file" .c)")
	done
	if ! bash docker/setup.sh --fuzz || ! build fuzz --target "${targets[@]}"; then
		failures+=("fuzz: the build of preset fuzz")
		add fuzz 0 1 0
		return
	fi
	for name in "${targets[@]}"; do
		say "fuzz $name"
		corpus=$(mktemp -d) # what libFuzzer finds goes there, not into the tree
		if ".build/fuzz/tests/fuzz/$name" -max_total_time=60 -timeout=25 -print_final_stats=1 \
			-artifact_prefix=".build/fuzz/$name-" "$corpus" "tests/fuzz/corpus/${name#fuzz_}"; then
			good=$((good + 1))
		else
			bad=$((bad + 1))
			failures+=("fuzz: $name; its input is .build/fuzz/$name-*")
		fi
		rm -rf "$corpus"
	done
	add fuzz "$good" "$bad" 0
}

run_stage() {
	case $1 in
	release) suite release release -E '^(sim|kill|llm|kafka)\.' ;;
	sim) suite sim release -R '^sim\.' ;;
	kill) suite kill release -R '^kill\.' ;;
	llm) run_llm ;;
	demo) run_demo ;;
	kafka) run_kafka ;;
	asan) suite asan asan -E '^(sim|kill|llm|kafka)\.' ;;
	tsan) suite tsan tsan -R '^(base|topology)\.' ;;
	fuzz) run_fuzz ;;
	esac
}

long=no
for arg in "$@"; do
	case $arg in
	--long) long=yes ;;
	-h | --help)
		usage
		exit 0
		;;
	release | sim | kill | llm | demo | kafka | asan | tsan | fuzz) stages+=("$arg") ;;
	*)
		printf "run.sh: unknown stage or option '%s'; known: --long --help %s fuzz\n" "$arg" "${STAGES[*]}" >&2
		exit 2
		;;
	esac
done
if [[ ${#stages[@]} -eq 0 ]]; then
	stages=("${STAGES[@]}")
	if [[ $long == yes ]]; then
		stages+=(fuzz)
	fi
fi
if [[ $long == yes ]]; then
	export SL_LONG=1
fi
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_stack_use_after_return=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-suppressions=$PWD/tests/tsan.supp}
# One thread each for BLAS: the tests already run beside each other.
export OPENBLAS_NUM_THREADS=${OPENBLAS_NUM_THREADS:-1}

bash docker/setup.sh
for stage in "${stages[@]}"; do
	begun=$SECONDS
	run_stage "$stage"
	printf '== %s took %d s\n' "$stage" $((SECONDS - begun))
done

if [[ ${#skips[@]} -gt 0 ]]; then
	printf '\nskipped:\n'
	printf '  %s\n' "${skips[@]}"
fi
if [[ ${#failures[@]} -gt 0 ]]; then
	printf '\nfailed:\n'
	printf '  %s\n' "${failures[@]}"
fi
printf '\n%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[[ $failed -eq 0 ]]
