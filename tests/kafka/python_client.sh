#!/usr/bin/env bash
# python_client.sh -- other people's programs at both ends of the stream: Confluent's Python client writes pairs with
# its Avro serializer and reads curated ones back, through a real broker and a real schema registry.
#
#     tests/kafka/python_client.sh [--build DIR]
#
# Pairs of today's schema, of one that lacks a field and of one with a field more, JSON, and what nobody can
# read; readers of all three schemas at the end. The registry wants a password over TLS, and is away when the run begins.
# Starts a registry of its own (test_registry plays against it too) and, unless KAFKA_BOOTSTRAP names one, a broker. Exit 77
# where one of them or the Python packages cannot be had.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly PACKAGE='confluent-kafka[avro,schemaregistry]==2.12.2'
readonly PATIENCE=120 # seconds until something that must happen has not
build=build
while [[ $# -gt 0 ]]; do
	case $1 in
	--build)
		build=${2:?--build wants a folder}
		shift
		;;
	-h | --help)
		sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p;}' "$0"
		exit 0
		;;
	*)
		printf "python_client.sh: unknown option '%s'\n" "$1" >&2
		exit 2
		;;
	esac
	shift
done
build=$(realpath -m -- "$build")

work=$(mktemp -d)
runner=''
cleanup() {
	[[ -z $runner ]] || kill "$runner" 2>/dev/null || true
	[[ ! -e $work/registry ]] || bash tests/kafka/registry.sh stop "$work/registry" || true
	[[ ! -e $work/broker ]] || bash tests/kafka/broker.sh stop "$work/broker" || true
	rm -rf "$work"
}
trap cleanup EXIT

fail() {
	printf 'python_client.sh: %s\n' "$*" >&2
	tail -n 20 "$work"/*.log >&2 || true
	exit 1
}

skip() {
	printf 'skipped: python_client.sh: %s\n' "$*" >&2
	exit 77
}

# The packages in a virtual environment of their own, made once.
python=${SL_KAFKA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sluice}/python-${PACKAGE##*==}
if [[ ! -e $python/ready ]]; then
	mkdir -p "${python%/*}"
	(
		flock 9
		[[ ! -e $python/ready ]] || exit 0
		rm -rf "$python"
		python3 -m venv "$python" && "$python/bin/pip" install -q --disable-pip-version-check "$PACKAGE" &&
			touch "$python/ready"
	) >"$work/pip.log" 2>&1 9>"${python%/*}/python.lock" || skip "no '$PACKAGE' from pip: $(tail -n 1 "$work/pip.log")"
fi

if [[ -z ${KAFKA_BOOTSTRAP:-} ]]; then
	bash tests/kafka/broker.sh start "$work/broker"
	# shellcheck disable=SC1091
	source "$work/broker/env"
fi
bash tests/kafka/registry.sh start "$work/registry" --basic-auth --tls
# shellcheck disable=SC1091
source "$work/registry/env"
"$build/tests/test_kafka_registry" >"$work/test_registry.log" 2>&1 || fail "test_kafka_registry"
echo "ok: the registry's client against a real one"

PREFIX=py$$-$(date +%s%N).
export PREFIX KAFKA_BOOTSTRAP
# The run does not curate, it passes on: there are no gold pairs.
options=(-t topology/curate.yaml --data "$work/data" --set metrics.listen=off --set filter.without_gold=pass
	--set stream.kind=kafka --set "stream.brokers=$KAFKA_BOOTSTRAP" --set "stream.prefix=$PREFIX"
	--set "registry.url=$REGISTRY_URL" --set "registry.user=$REGISTRY_USER" --set "registry.ca=$REGISTRY_CA")
# shellcheck disable=SC2016 # Sluice replaces it
options+=(--set 'registry.password=${REGISTRY_PASSWORD}')
sluice() {
	local command=$1
	shift
	"$build/sluice" "$command" "${options[@]}" "$@"
}
client() {
	"$python/bin/python" tests/kafka/python_client.py "$@" 2>>"$work/client.log"
}

client lines "$work/pairs.jsonl"
sluice ingest "$work/pairs.jsonl" 2>"$work/ingest.log" || fail "sluice ingest"
client write "$work/state.json" || fail "the Python client cannot write"

bash tests/kafka/registry.sh kill "$work/registry"
"$build/sluice" run "${options[@]}" --until-idle >"$work/run.log" 2>&1 &
runner=$!
deadline=$((SECONDS + PATIENCE))
until grep -q "trying again: the schema registry 'https" "$work/run.log"; do
	kill -0 "$runner" 2>/dev/null || fail "the run ended while the registry was away"
	[[ $SECONDS -lt $deadline ]] || fail "the run does not say that it waits for the registry"
	sleep 0.2
done
bash tests/kafka/registry.sh restart "$work/registry"
deadline=$((SECONDS + PATIENCE))
while kill -0 "$runner" 2>/dev/null; do
	[[ $SECONDS -lt $deadline ]] || fail "the run does not become idle"
	sleep 0.2
done
wait "$runner" || fail "sluice run"
runner=''
echo "ok: the run waited for the registry and went on"
! grep -q "$REGISTRY_PASSWORD" "$work"/*.log || fail "a log shows the password"

client check "$work/state.json" || fail "the Python client does not find what it wrote"
exported=$(sluice export --topic pairs.curated 2>"$work/export.log" | wc -l)
[[ $exported -eq 49 ]] || fail "sluice export gives $exported pairs, expected 49"
echo "ok: written and read by confluent-kafka ${PACKAGE##*==}"
