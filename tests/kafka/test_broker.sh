#!/usr/bin/env bash
# test_broker.sh -- that broker.sh and registry.sh do what they say.
#
#     tests/kafka/test_broker.sh          one broker of the current version, and the registry
#     SL_LONG=1 tests/kafka/test_broker.sh    and Kafka 3.9, and three nodes with users and permissions
#
# A record written through Kafka's own tools is read back, also after the broker was killed; a registry gives the same
# id after it was killed; at the end no process and no file is left but logs. Exit 77 when there is no broker to be had.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly BROKER=tests/kafka/broker.sh REGISTRY=tests/kafka/registry.sh TOOLS=org.apache.kafka.tools
work=$(mktemp -d)
cleanup() {
	local env
	for env in "$work"/*/; do
		bash "$BROKER" stop "$env" || true
	done
	rm -rf "$work"
}
trap cleanup EXIT

fail() {
	printf 'test_broker.sh: %s\n' "$*" >&2
	tail -n 20 "$work"/*/*.log >&2 || true
	exit 1
}

expect() { # WHAT EXPECTED GOT
	[[ $2 == "$3" ]] || fail "$1: expected '$2', got '$3'"
	printf 'ok: %s\n' "$1"
}

write() { # DIR RECORD ARGUMENT...
	local dir=$1 record=$2
	shift 2
	printf '%s\n' "$record" | bash "$BROKER" tool "$dir" "$TOOLS.ConsoleProducer" --topic t "$@" >&2
}

read_all() { # DIR COUNT ARGUMENT...
	local dir=$1 count=$2
	shift 2
	bash "$BROKER" tool "$dir" "$TOOLS.consumer.ConsoleConsumer" --topic t --from-beginning \
		--max-messages "$count" --timeout-ms 60000 "$@" 2>/dev/null
}

# What a stop leaves: logs, and no process whose command line names the folder.
nothing_left() { # DIR
	local left
	left=$(find "$1" -mindepth 1 ! -name '*.log')
	expect "no file left" "" "$left"
	left=$(pgrep -fa "^(java|python3) .*$1/" || true)
	expect "no process left" "" "$left"
}

one_node() { # VERSION
	local dir=$work/one-$1
	bash "$BROKER" start "$dir" --version "$1"
	bash "$BROKER" tool "$dir" "$TOOLS.TopicCommand" --create --topic t --partitions 1 >/dev/null
	write "$dir" first
	expect "$1: a record is read back" first "$(read_all "$dir" 1)"
	bash "$BROKER" kill "$dir" 1
	bash "$BROKER" restart "$dir" 1
	bash "$BROKER" pause "$dir" 1
	bash "$BROKER" resume "$dir" 1
	write "$dir" second
	expect "$1: and after the broker was killed" $'first\nsecond' "$(read_all "$dir" 2)"
	bash "$BROKER" stop "$dir"
	nothing_left "$dir"
}

three_nodes() {
	local dir=$work/three login
	bash "$BROKER" start "$dir" --nodes 3 --acl
	# shellcheck disable=SC1091
	source "$dir/env"
	login=org.apache.kafka.common.security.scram.ScramLoginModule
	cat >"$work/limited" <<-END
		security.protocol=SASL_SSL
		ssl.truststore.type=PEM
		ssl.truststore.location=$KAFKA_CA
		sasl.mechanism=SCRAM-SHA-512
		sasl.jaas.config=$login required username="$KAFKA_LIMITED_USER" password="$KAFKA_LIMITED_PASSWORD";
	END
	sed "s/$KAFKA_LIMITED_PASSWORD/$KAFKA_PASSWORD/;s/\"$KAFKA_LIMITED_USER\"/\"$KAFKA_USER\"/;s/SCRAM-SHA-512/PLAIN/;s/scram.Scram/plain.Plain/" \
		"$work/limited" >"$work/user"
	bash "$BROKER" tool "$dir" "$TOOLS.TopicCommand" --create --topic t --partitions 3 \
		--bootstrap-server "$KAFKA_SASL_BOOTSTRAP" --command-config "$work/user" >/dev/null
	expect "three nodes: limited sees nothing" "" "$(bash "$BROKER" tool "$dir" "$TOOLS.TopicCommand" --list \
		--bootstrap-server "$KAFKA_SASL_BOOTSTRAP" --command-config "$work/limited")"
	bash "$BROKER" acl "$dir" --operation Read --topic t >/dev/null
	bash "$BROKER" kill "$dir" 2
	write "$dir" first
	expect "three nodes: limited sees what was granted" t "$(bash "$BROKER" tool "$dir" "$TOOLS.TopicCommand" --list \
		--bootstrap-server "$KAFKA_SASL_BOOTSTRAP" --command-config "$work/limited")"
	bash "$BROKER" restart "$dir" 2
	bash "$BROKER" kill "$dir" 1
	expect "three nodes: a record outlives two of them in turn" first "$(read_all "$dir" 1)"
	bash "$BROKER" stop "$dir"
	nothing_left "$dir"
}

registry() {
	local dir=$work/registry status=0 reply=''
	bash "$REGISTRY" start "$dir" --tls --basic-auth || status=$?
	if [[ $status -eq 77 ]]; then
		printf 'no registry to be had; the brokers were tested\n'
		return
	fi
	[[ $status -eq 0 ]] || fail "the registry does not start"
	# shellcheck disable=SC1091
	source "$dir/env"
	local -a call=(curl -s --cacert "$REGISTRY_CA" -H 'Content-Type: application/vnd.schemaregistry.v1+json')
	reply=$("${call[@]}" -o /dev/null -w '%{http_code}' -u "$REGISTRY_USER:wrong" "$REGISTRY_URL/subjects")
	expect "registry: a wrong password" 401 "$reply"
	call+=(-u "$REGISTRY_USER:$REGISTRY_PASSWORD")
	reply=$("${call[@]}" -d '{"schema": "\"string\""}' "$REGISTRY_URL/subjects/t-value/versions")
	expect "registry: a new schema" '{"id":1}' "$reply"
	bash "$REGISTRY" kill "$dir"
	bash "$REGISTRY" restart "$dir"
	reply=$("${call[@]}" -d '{"schema": "\"string\""}' "$REGISTRY_URL/subjects/t-value")
	expect "registry: known after it was killed" '{"subject":"t-value","id":1,"version":1}' \
		"$(jq -c '{subject, id, version}' <<<"$reply")"
	bash "$REGISTRY" stop "$dir"
	nothing_left "$dir"
}

one_node 4
if [[ ${SL_LONG:-0} == 1 ]]; then
	one_node 3.9
	three_nodes
fi
registry
