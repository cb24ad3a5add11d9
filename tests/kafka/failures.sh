#!/usr/bin/env bash
# failures.sh -- what goes wrong between Sluice and its brokers, what the user reads, and that work goes on.
#
#     tests/kafka/failures.sh [--build DIR]          one broker with users, permissions and TLS, and a registry
#     SL_LONG=1 tests/kafka/failures.sh              and SCRAM on Kafka 3.9, where librdkafka is too old for that of 4
#
# First what ends a command at once, because no waiting cures it: wrong password, unknown authority, TLS and plain
# mixed up, a topic made with other settings, no permission. The commands that an error names are carried out as they
# stand there, and then it works.
#
# Then one `run`, as a user who may do only what its documentation asks for, over TLS, with a registry, started before
# its broker: it waits and says for what, and is never started again, while its broker is killed, its registry is killed,
# a topic takes smaller records than there are, a permission is taken away and given back, and the disk is full. In
# the end every pair that was ingested is there once. No output of any command has had a password in it.
#
# Exit 77 where there is no broker to be had.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly BROKER=tests/kafka/broker.sh REGISTRY=tests/kafka/registry.sh TOOLS=org.apache.kafka.tools
build=.build/release
[[ ${1:-} == --build ]] && build=${2:?--build wants a folder}
[[ -x $build/sluice ]] || {
	echo "failures.sh: '$build/sluice' is missing: build it first" >&2
	exit 2
}
SLUICE=$(realpath "$build/sluice")
work=$(mktemp -d "${TMPDIR:-/tmp}/sluice-failures-XXXXXX")
readonly SLUICE work
declare -a skipped=()
pid='' small=no

cleanup() {
	[[ -z $pid ]] || kill -9 "$pid" 2>/dev/null || true
	for dir in "$work"/kafka "$work"/old; do
		bash "$BROKER" stop "$dir" || true
	done
	[[ $small == no ]] || umount -l "$work/kafka"
	rm -rf "$work"
}
trap cleanup EXIT

fail() {
	printf 'failures.sh: %s\n' "$1" >&2
	[[ -z ${2:-} ]] || sed 's/^/    /' "$2" | tail -n 30 >&2
	exit 1
}

ok() {
	printf 'ok %3d s: %s\n' "$SECONDS" "$*"
}

# ---- what is run

cat >"$work/t.yaml" <<'END'
topology: failures
stream:
  kind: kafka
  brokers: ${SL_BROKERS}
partitions: 1
metrics: off
ingest: { to: pairs.raw, ties: pairs.ties }
steps:
  - name: dedupe
    from: pairs.raw
    to: { unique: pairs.unique, duplicate: pairs.duplicate, conflict: pairs.conflict, contaminated: pairs.contaminated }
END

# pairs FIRST LAST [BYTES]: distinct ones, as many bytes longer
pairs() {
	local i long=''
	[[ -z ${3:-} ]] || long=$(head -c "$3" /dev/urandom | base64 -w0)
	for ((i = $1; i <= $2; i++)); do
		printf '{"prompt":"What is %d plus %d?","chosen":"It is %d.","rejected":"Nobody knows number %d. %s"}\n' \
			"$i" "$i" $((2 * i)) "$i" "$long"
	done
}

# Options, as arrays: who asks, and where.
plain() { # PREFIX
	options=(--set stream.prefix="$1")
	export SL_BROKERS=$KAFKA_BOOTSTRAP
}
secure() { # PREFIX USER PASSWORD
	options=(--set stream.prefix="$1" --set kafka.security.protocol=SASL_SSL --set kafka.sasl.mechanism=PLAIN
		--set kafka.sasl.username="$2" --set "kafka.sasl.password=\${SL_PASSWORD}" --set kafka.ssl.ca.location="$KAFKA_CA")
	export SL_BROKERS=$KAFKA_SASL_BOOTSTRAP SL_PASSWORD=$3
}

# sluice COMMAND ARGUMENT...: with the options; both outputs are kept, so that passwords can be looked for.
sluice() {
	local command=$1
	shift
	timeout 60 "$SLUICE" "$command" -t "$work/t.yaml" --data "$work/$data" "${options[@]}" "$@" \
		> >(tee -a "$work/all.log") 2> >(tee -a "$work/all.log" >&2)
}

# refused TEXT COMMAND...: it fails and says so, in DATA.err.
refused() {
	local text=$1 code=0
	shift
	sluice "$@" >"$work/$data.out" 2>"$work/$data.err" || code=$?
	[[ $code -ne 0 ]] || fail "'$*' succeeds where it should say '$text'" "$work/$data.err"
	[[ $code -ne 124 ]] || fail "'$*' does not end by itself" "$work/$data.err"
	grep -qF -- "$text" "$work/$data.err" || fail "'$*' does not say '$text'" "$work/$data.err"
}

works() {
	sluice "$@" >"$work/$data.out" 2>"$work/$data.err" || fail "'$*' fails" "$work/$data.err"
}

until_true() { # WHAT SECONDS COMMAND...
	local what=$1 deadline=$((SECONDS + $2))
	shift 2
	until "$@"; do
		[[ $SECONDS -lt $deadline ]] || fail "waited too long until $what" "$work/run.log"
		[[ -z $pid ]] || kill -0 "$pid" 2>/dev/null || fail "run has ended before $what" "$work/run.log"
		sleep 0.1
	done
}

# do_as_told FILE: the command of Kafka's that the last line with one in the file names.
do_as_told() {
	local command class
	local -a words
	command=$(grep -o 'kafka-[a-z]*\.sh [^;"()]*' "$1" | tail -n 1) || fail "no command of Kafka's is named" "$1"
	read -ra words <<<"${command/CLIENT.properties/$work/client.properties}"
	case ${words[0]} in
	kafka-configs.sh) class=kafka.admin.ConfigCommand ;;
	kafka-topics.sh) class=$TOOLS.TopicCommand ;;
	*) fail "unknown command '${words[0]}'" "$1" ;;
	esac
	tool "$class" "${words[@]:1}"
}

tool() {
	local log
	log=$(mktemp "$work/tool-XXXXXX.log")
	bash "$BROKER" tool "$work/kafka" "$@" >"$log" 2>&1 || fail "the tool '$*' fails" "$log"
}

exported() { # TOPIC: how many records
	sluice export --topic "$1" 2>/dev/null | wc -l
}

# ---- a broker whose disk can be filled, if we may mount one

mkdir "$work/kafka"
if mount -t tmpfs -o size=256m tmpfs "$work/kafka" 2>/dev/null; then
	small=yes
else
	skipped+=("disk of the broker full: no right to mount a small one")
fi
bash "$BROKER" start "$work/kafka" --acl || exit $?
# shellcheck disable=SC1091
source "$work/kafka/env"
bash "$REGISTRY" start "$work/kafka" --basic-auth >"$work/registry.log" 2>&1 &
registry=$!
cat >"$work/client.properties" <<END
security.protocol=SASL_SSL
ssl.truststore.type=PEM
ssl.truststore.location=$KAFKA_CA
sasl.mechanism=PLAIN
sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required username="$KAFKA_USER" password="$KAFKA_PASSWORD";
END
secrets=("$KAFKA_PASSWORD" "$KAFKA_LIMITED_PASSWORD")
ok "a broker"

# ---- what no waiting cures; beside each other, because each takes some seconds

wrong_password() {
	secure a. "$KAFKA_USER" "wrong-$KAFKA_PASSWORD"
	refused 'check kafka.sasl.username, kafka.sasl.password' run --until-idle
}
unknown_authority() {
	secure a. "$KAFKA_USER" "$KAFKA_PASSWORD"
	options+=(--set kafka.ssl.ca.location=/etc/ssl/certs/ca-certificates.crt)
	refused 'check kafka.ssl.ca.location' run --until-idle
}
plain_to_tls() {
	plain a.
	SL_BROKERS=$KAFKA_SASL_BOOTSTRAP
	refused 'check kafka.security.protocol and the ports in stream.brokers' run --until-idle
}
tls_to_plain() {
	secure a. "$KAFKA_USER" "$KAFKA_PASSWORD"
	SL_BROKERS=$KAFKA_BOOTSTRAP
	refused 'check kafka.security.protocol and the ports in stream.brokers' run --until-idle
}
jobs=()
for data in wrong_password unknown_authority plain_to_tls tls_to_plain; do
	$data &
	jobs+=($!)
done
for job in "${jobs[@]}"; do
	wait "$job"
done
for data in wrong_password unknown_authority plain_to_tls tls_to_plain; do
	ok "${data//_/ }: $(tail -n 1 "$work/$data.err")"
done

# ---- topics of others

data=differs
plain d.
works plan
grep -q 'd.pairs.raw: would be created with partitions=1' "$work/$data.out" || fail "plan does not say what it would make" "$work/$data.out"
tool $TOOLS.TopicCommand --create --topic d.pairs.raw --partitions 1 --config retention.ms=60000 --config max.message.bytes=2000
works plan
grep -q 'd.pairs.raw: differs: .*retention.ms is 60000, must be -1; repair: kafka-configs.sh' "$work/$data.out" ||
	fail "plan does not say what differs" "$work/$data.out"
refused "topic 'd.pairs.raw' differs: " run --until-idle
do_as_told "$work/$data.err"
works run --until-idle
works plan
! grep -E 'differs|would be' "$work/$data.out" || fail "plan is not content with what run has made"
ok "a topic with other settings: $(grep -o 'topic .*' <<<"$(grep -h differs "$work/all.log" | tail -n 1)")"

# ---- one run through everything

wait "$registry" || fail "the registry does not start" "$work/registry.log"
# shellcheck disable=SC1091
source "$work/kafka/env"
data=live
secure l. "$KAFKA_LIMITED_USER" "$KAFKA_LIMITED_PASSWORD"
refused "cannot make topic 'l.pairs.raw': " run --until-idle
grep -q 'grant its user' "$work/$data.err" || fail "not said what to grant" "$work/$data.err"
ok "no permission: $(cat "$work/$data.err")"

# All that a user needs.
grant() { # RESOURCE OPERATION...
	local resource=$1
	shift
	tool $TOOLS.AclCommand --add --allow-principal "User:$KAFKA_LIMITED_USER" --resource-pattern-type prefixed \
		"$resource" l. "${@/#/--operation=}"
}
granting=()
grant --topic Describe DescribeConfigs Create Read Write Delete &
granting+=($!)
grant --group Describe Read &
granting+=($!)
grant --transactional-id Describe Write &
granting+=($!)
for job in "${granting[@]}"; do
	wait "$job"
done
options+=(--set registry.url="$REGISTRY_URL" --set registry.user="$REGISTRY_USER" --set "registry.password=\${SL_REGISTRY}")
secrets+=("$REGISTRY_PASSWORD")
export SL_REGISTRY=wrong-$REGISTRY_PASSWORD
pairs 1 20 >"$work/1.jsonl"
refused 'does not accept registry.user with its password' ingest "$work/1.jsonl"
ok "wrong password of the registry: $(tail -n 1 "$work/$data.err")"
SL_REGISTRY=$REGISTRY_PASSWORD
works ingest "$work/1.jsonl"

bash "$REGISTRY" kill "$work/kafka"
bash "$BROKER" kill "$work/kafka" 1
"$SLUICE" run -t "$work/t.yaml" --data "$work/$data" "${options[@]}" >"$work/run.log" 2>&1 &
pid=$!
says() {
	grep -qF -- "$1" < <(tail -n "+$((seen + 1))" "$work/run.log")
}
so_far() {
	seen=$(wc -l <"$work/run.log")
}
seen=0
until_true "run says that it waits for the brokers" 30 says "waiting for the brokers '$SL_BROKERS'"
ok "broker down at start: $(grep -m 1 'waiting for the brokers' "$work/run.log" | sed 's/.*text=//')"
bash "$BROKER" restart "$work/kafka" 1
until_true "run says that the registry does not answer" 60 says 'does not answer'
ok "registry down at start: $(grep -m 1 'does not answer' "$work/run.log" | sed 's/.*text=//')"
bash "$REGISTRY" restart "$work/kafka"
ingested=20
all_out() {
	[[ $(sluice status --json 2>/dev/null | jq '[.steps[0].ports[] | .out] | add') == "$ingested" ]]
}
until_true "all is out" 60 all_out
ok "both are back, and run goes on"

more() { # FIRST LAST [BYTES]: through the run, which has the lock
	pairs "$@" >"$work/$1.jsonl"
	works ingest "$work/$1.jsonl"
	ingested=$((ingested + $2 - $1 + 1))
}
more 21 30
until_true "all is out" 60 all_out

# What is known by then is enough, but for a record from elsewhere with a schema that is not: then run waits, because
# only the registry can tell that there is no such schema.
bash "$REGISTRY" kill "$work/kafka"
cp "$work/1.jsonl" "$work/again.jsonl"
works ingest "$work/again.jsonl"
ingested=$((ingested + 20))
until_true "all is out" 60 all_out
so_far
printf '\0\0\0\0c is schema 99\n' >"$work/foreign"
tool $TOOLS.ConsoleProducer --topic l.pairs.raw <"$work/foreign"
until_true "run says that the registry does not answer" 60 says 'does not answer'
ok "registry down in the middle: $(grep 'does not answer' "$work/run.log" | tail -n 1 | sed 's/.*text=//')"
bash "$REGISTRY" restart "$work/kafka"
dead() {
	[[ $(sluice status --json 2>/dev/null | jq '.steps[0].dead') == 1 ]]
}
until_true "the record is a dead letter" 60 dead

so_far
tool kafka.admin.ConfigCommand --alter --entity-type topics --entity-name l.pairs.unique --add-config max.message.bytes=2000
more 31 31 6000
until_true "run names the topic" 60 says "is more than topic 'l.pairs.unique' takes"
ok "record over max.message.bytes: $(grep 'is more than' "$work/run.log" | tail -n 1 | sed 's/.*text=//')"
do_as_told "$work/run.log"
until_true "all is out" 60 all_out

so_far
taken=(--topic l.pairs.unique --operation Write --deny-principal "User:$KAFKA_LIMITED_USER")
tool $TOOLS.AclCommand "${taken[@]}" --add
more 32 40
until_true "run says what it may not" 60 says "this user may not write to one of the topics "
says 'Failed to add partition \"l.pairs.unique\" [0]' || fail "not said which topic it may not write to" "$work/run.log"
ok "permission taken away: $(grep 'may not write' "$work/run.log" | tail -n 1 | sed 's/.*text=//')"
tool $TOOLS.AclCommand "${taken[@]}" --remove --force
until_true "all is out" 60 all_out

so_far
bash "$BROKER" kill "$work/kafka" 1
until_true "run says that the broker is away" 60 says 'refused'
ok "broker down in the middle: $(grep 'refused' "$work/run.log" | tail -n 1 | sed 's/.*text=//')"
bash "$BROKER" restart "$work/kafka" 1
more 41 60
until_true "all is out" 60 all_out

gone() {
	! kill -0 "$KAFKA_PID_1" 2>/dev/null
}
if [[ $small == yes ]]; then
	so_far
	# shellcheck disable=SC1091
	source "$work/kafka/env"
	dd if=/dev/zero of="$work/kafka/filler" bs=1M status=none 2>/dev/null || true
	pairs 61 90 40000 >"$work/61.jsonl"
	sluice ingest "$work/61.jsonl" >"$work/ingest.log" 2>&1 &
	ingest=$!
	until_true "the broker gives up its disk" 60 gone
	until_true "run says that the broker is away" 60 says 'refused'
	ok "disk full: $(grep 'refused' "$work/run.log" | tail -n 1 | sed 's/.*text=//')"
	rm "$work/kafka/filler"
	bash "$BROKER" restart "$work/kafka" 1
	wait $ingest || works ingest "$work/61.jsonl"
	ingested=$((ingested + 30))
	until_true "all is out" 60 all_out
fi

kill -TERM "$pid"
wait "$pid" || fail "run ends with $?" "$work/run.log"
pid=''
sluice export --topic pairs.unique 2>/dev/null | sort >"$work/unique"
[[ $(wc -l <"$work/unique") -eq $((ingested - 20)) ]] || fail "$(wc -l <"$work/unique") pairs of $((ingested - 20)) are out"
[[ -z $(uniq -d "$work/unique") ]] || fail "pairs are there twice"
[[ $(exported pairs.duplicate) -eq 20 ]] || fail "not 20 duplicates"
ok "$ingested pairs, each once, by one run"

# ---- SCRAM

data=scram
secure s. "$KAFKA_USER" "$KAFKA_PASSWORD"
options+=(--set kafka.sasl.mechanism=SCRAM-SHA-512)
if sluice ingest "$work/1.jsonl" >"$work/$data.out" 2>"$work/$data.err"; then
	works run --until-idle
	[[ $(exported pairs.unique) -eq 20 ]] || fail "not 20 pairs through SCRAM"
	ok "SCRAM: ingest, run, export"
else
	grep -q 'librdkafka below 2.6.1 .* has no SCRAM for Kafka 4: use PLAIN' "$work/$data.err" || fail "SCRAM does not work" "$work/$data.err"
	ok "SCRAM: $(cat "$work/$data.err")"
fi
bash "$BROKER" stop "$work/kafka"
if [[ ${SL_LONG:-0} == 1 ]]; then
	bash "$BROKER" start "$work/old" --version 3.9 --sasl
	# shellcheck disable=SC1091
	source "$work/old/env"
	data=scram39
	secure s. "$KAFKA_USER" "$KAFKA_PASSWORD"
	options+=(--set kafka.sasl.mechanism=SCRAM-SHA-512)
	works ingest "$work/1.jsonl"
	works run --until-idle
	[[ $(exported pairs.unique) -eq 20 ]] || fail "not 20 pairs through SCRAM"
	ok "SCRAM on Kafka 3.9: ingest, run, export"
	secrets+=("$KAFKA_PASSWORD")
fi

# ---- secrets

for secret in "${secrets[@]}"; do
	if grep -rlF --include='*.log' --include='*.err' --include='*.out' --exclude-dir=kafka --exclude-dir=old -- "$secret" "$work" ||
		grep -rlF -- "$secret" "$work"/{differs,live,scram}; then
		fail "a password is in the files above"
	fi
done
ok "no password in any output or data folder"
[[ ${#skipped[@]} -eq 0 ]] || printf 'skipped: %s\n' "${skipped[@]}"
