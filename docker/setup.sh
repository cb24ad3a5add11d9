#!/usr/bin/env bash
# setup.sh -- install what building and running Sluice needs on Debian or Ubuntu.
#
#     docker/setup.sh          compiler, CMake and the libraries
#     docker/setup.sh --fuzz   and clang with libFuzzer
#     docker/setup.sh --kafka  and Java, Maven and Python, for tests on real brokers
#     docker/setup.sh --llm    and Python and the openssl command, for tests with servers of models
#     docker/setup.sh --dev    and clang-format, shellcheck, gdb
#
# It can be run again at any time: when nothing is missing it asks dpkg once and
# ends without touching apt or the network. Minimum versions are those of
# Debian 12. Nothing comes from anywhere but the machine's own apt sources.
set -euo pipefail

BUILD=(
	build-essential cmake ninja-build pkg-config
	librdkafka-dev librocksdb-dev libopenblas-dev libopenblas-pthread-dev libavro-dev
	libcurl4-openssl-dev libmicrohttpd-dev libjansson-dev libfyaml-dev libxxhash-dev
	libutf8proc-dev libpcre2-dev libzstd-dev zlib1g-dev libssl-dev libcmocka-dev
	curl ca-certificates jq
)

usage() {
	sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p;}' "$0"
}

die() {
	printf 'setup.sh: %s\n' "$*" >&2
	exit 1
}

# The names that are not installed, one a line.
missing() {
	local have
	# dpkg-query fails when it does not know a name, and still prints the others.
	have=$(dpkg-query -W -f='${Package} ${db:Status-Abbrev}\n' "$@" 2>/dev/null || true)
	have=$(awk '$2 ~ /^.i/ { print $1 }' <<<"$have" | sort -u)
	comm -23 <(printf '%s\n' "$@" | sort -u) <(printf '%s\n' "$have")
}

as_root() {
	if [[ $(id -u) -eq 0 ]]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		die "not root, and there is no sudo; run this once as root: $0"
	fi
}

updated=no
install() {
	local -a want
	mapfile -t want < <(missing "$@")
	if [[ ${#want[@]} -eq 0 ]]; then
		return
	fi
	printf 'setup.sh: installing %s\n' "${want[*]}"
	if [[ $updated == no ]]; then
		as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq ||
			die "apt-get update failed: check the network and the sources in /etc/apt"
		updated=yes
	fi
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${want[@]}" >/dev/null ||
		die "apt-get could not install: ${want[*]} (Debian 12 and Ubuntu 24.04 with 'universe', or later, have them all)"
}

# Whether there is a Java that runs current brokers, from wherever it came.
java_17() {
	local major
	major=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p') || return 1
	[[ ${major:-0} -ge 17 ]]
}

fuzz=no
kafka=no
llm=no
dev=no
for arg in "$@"; do
	case $arg in
	--fuzz) fuzz=yes ;;
	--kafka) kafka=yes ;;
	--llm) llm=yes ;;
	--dev) dev=yes ;;
	-h | --help)
		usage
		exit 0
		;;
	*) die "unknown option '$arg'; known: --fuzz --kafka --llm --dev --help" ;;
	esac
done

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
	die "no apt-get here: only Debian and Ubuntu are known. Install what stands for: ${BUILD[*]}"
fi

install "${BUILD[@]}"
if [[ $fuzz == yes ]]; then
	install clang
	# libFuzzer is in the compiler-rt package of the clang that this distribution ships.
	version=$(clang -dumpversion)
	install "libclang-rt-${version%%.*}-dev"
fi
if [[ $kafka == yes ]]; then
	install maven openssl python3-venv procps
	if ! java_17; then
		install default-jre-headless # 17 in Debian 12, later ones elsewhere
	fi
fi
if [[ $llm == yes ]]; then
	install openssl python3-venv procps
fi
if [[ $dev == yes ]]; then
	install clang-format shellcheck gdb
fi

# Sluice wants the threaded OpenBLAS. Where the OpenMP or serial one is installed
# beside it, the alternatives system may point elsewhere: say so, change nothing.
blas=$(readlink -f "/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH)/libopenblas.so.0" || true)
if [[ $blas != */openblas-pthread/* ]]; then
	printf "setup.sh: libopenblas.so.0 is '%s', not the pthread build; 'update-alternatives --all' chooses\n" "$blas" >&2
fi
