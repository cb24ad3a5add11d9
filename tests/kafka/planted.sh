#!/usr/bin/env bash
# planted.sh -- chaos.sh must catch bugs, or it catches nothing.
#
#     tests/kafka/planted.sh [--build DIR] [--seeds N] [--keep] [PATCH ...]
#
# Each tests/kafka/planted/*.patch plants one bug in a copy of the sources; its first line says which. The copy is built
# and its workers go through chaos.sh --quick, with seed after seed until a check catches them: that of the records, of
# the counts, of the stores, of the input offset in a restore. control.patch plants none and must not be caught.
# A patch that does not apply any more is a failure: the code has moved, and so must the patch.
#
# --build: where the unharmed product and the tools are. Takes some minutes for each; all of them only with SL_LONG=1.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

build=.build/release seeds=5 keep=no patches=()
while [[ $# -gt 0 ]]; do
	case $1 in
	--build | --seeds)
		[[ $# -ge 2 ]] || { echo "planted.sh: $1 needs a value" >&2; exit 2; }
		declare "${1#--}=$2"
		shift
		;;
	--keep) keep=yes ;;
	*.patch) patches+=("$(realpath "$1")") ;;
	*)
		sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}"
		[[ $1 == --help || $1 == -h ]] && exit 0
		exit 2
		;;
	esac
	shift
done
if [[ ${#patches[@]} -eq 0 && ${SL_LONG:-0} != 1 ]]; then
	echo 'skipped: planted bugs take half an hour; SL_LONG=1 or the patches by name' >&2
	exit 77
fi
[[ ${#patches[@]} -gt 0 ]] || mapfile -t patches < <(realpath tests/kafka/planted/*.patch)
dir=$(mktemp -d "${TMPDIR:-/tmp}/sluice-planted-XXXXXX")
leave() { [[ $keep == yes ]] || rm -rf "$dir"; }
trap leave EXIT

wrong() {
	echo "planted.sh: $*" >&2
	keep=yes
	echo "planted.sh: left in $dir" >&2
	exit 1
}

mkdir "$dir/source"
git ls-files -z -- CMakeLists.txt .clang-format schemas operators topology trainer tests |
	xargs -0 cp --parents -t "$dir/source" 2>/dev/null || wrong "the sources cannot be copied"
cmake -S "$dir/source" -B "$dir/build" -DCMAKE_BUILD_TYPE=RelWithDebInfo >"$dir/cmake.log" 2>&1 ||
	wrong "the copy cannot be configured; see $dir/cmake.log"

# What said that something is wrong, in a word; empty: nothing that counts as a check.
check_of() { # log
	if grep -qE "its changelog '.*' (ends with|says)|the restored state of step" "$1"; then
		echo 'the input offset in a restore'
	elif grep -q 'the topics are not as they must be' "$1"; then
		echo 'the records'
	elif grep -q 'the counts of status differ' "$1"; then
		echo 'the counts'
	elif grep -q 'the stores differ' "$1"; then
		echo 'the stores'
	elif grep -q 'Assertion .* failed' "$1"; then
		echo "an assertion of the product ($(grep -m1 -o 'Assertion .* failed' "$1"))"
	fi
}

for patch in "${patches[@]}"; do
	name=$(basename "$patch" .patch)
	patch -s -p1 -d "$dir/source" <"$patch" >"$dir/patch.log" 2>&1 ||
		wrong "$name.patch does not apply any more: $(tail -n 1 "$dir/patch.log")"
	cmake --build "$dir/build" -j2 --target sluice >"$dir/build.log" 2>&1 ||
		wrong "$name.patch does not compile: $(grep -m1 error "$dir/build.log")"
	caught=''
	for ((seed = 1; seed <= seeds; seed++)); do
		status=0
		bash tests/kafka/chaos.sh --quick --seed "$seed" --build "$build" --sluice "$dir/build/sluice" \
			>"$dir/$name.$seed.log" 2>&1 || status=$?
		[[ $status -ne 77 ]] || { tail -n 1 "$dir/$name.$seed.log" >&2; exit 77; }
		if [[ $status -ne 0 ]]; then
			caught=$(check_of "$dir/$name.$seed.log")
			rm -rf "$(sed -n 's/.*; left in //p' "$dir/$name.$seed.log" | tail -n 1)"
			[[ -n $caught ]] || wrong "$name: chaos.sh failed, but by no check; see $dir/$name.$seed.log"
			break
		fi
		[[ $name != control ]] || break
	done
	patch -s -R -p1 -d "$dir/source" <"$patch"
	if [[ $name == control ]]; then
		[[ -z $caught ]] || wrong "without a bug, $caught complained; see $dir/$name.$seed.log"
		echo "planted.sh: control: not caught, as it must be"
	else
		[[ -n $caught ]] || wrong "$name was not caught with $seeds seeds: $(head -n 1 "$patch")"
		echo "planted.sh: $name: caught with seed $seed by $caught"
	fi
done
