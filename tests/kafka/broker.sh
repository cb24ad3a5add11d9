#!/usr/bin/env bash
# broker.sh -- real Kafka brokers from Maven artifacts, for tests and for a first try.
#
#     broker.sh install [--version 4|3.9|X.Y.Z]
#     broker.sh start DIR [--nodes 1|3] [--version V] [--sasl] [--acl] [--behind PORT,...] [--property [NODE:]K=V]...
#     broker.sh stop DIR
#     broker.sh kill|halt|restart|pause|resume DIR NODE
#     broker.sh tool DIR CLASS ARGUMENT...
#     broker.sh acl DIR ARGUMENT...
#
#     install   resolves the jars once into ~/.cache/sluice (SL_KAFKA_CACHE elsewhere); start does so by itself
#     start     brokers (KRaft, each also a controller) on free ports of 127.0.0.1 with their data below DIR;
#               returns when all serve; DIR/env then says where, as lines KEY=VALUE for `source`
#     stop      ends them, and what registry.sh started in DIR, and removes all but their logs, DIR/node-N.log
#     kill      SIGKILL; halt: SIGTERM, or SIGKILL 30 seconds later; restart: halt, then again on the same ports and data;
#               pause and resume: SIGSTOP and SIGCONT
#     tool      a command-line class of Kafka, such as org.apache.kafka.tools.TopicCommand, told where the brokers are;
#               names are those of 4.x for 3.9 too
#     acl       with --acl: grants the user 'limited' what the arguments name (--operation Read --topic t)
#
#     --sasl      a second listener, SASL_SSL with PLAIN and SCRAM-SHA-512, and a certificate authority for it
#     --acl       with --sasl: the standard authorizer; all may do all but the user 'limited', who may do nothing
#     --behind    a third listener, plaintext, that tells clients these ports (one a node) instead of its own:
#                 those of proxies that stand before it. It listens on KAFKA_BEHIND_PORT_N itself.
#
# Brokers outlive this script and belong to init; what is known of them is DIR/node-N.pid, and a process is
# ours only while its command line names DIR. Nothing is guessed about ports: random ones below the range
# that the kernel hands out, and others when a broker finds its own taken.
# Exit 77 with one line "skipped: ..." where Java 17, Maven or the network is missing: tests pass that on.
set -euo pipefail

# shellcheck source=tests/kafka/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
readonly CURRENT=4.3.1 OLD=3.9.2

full_version() {
	case $1 in
	4 | 4.x) echo "$CURRENT" ;;
	3 | 3.9) echo "$OLD" ;;
	3.9.* | 4.*.*) echo "$1" ;;
	*) die "--version '$1' is none of 4, 3.9, 3.9.N, 4.M.N" ;;
	esac
}

install() { # VERSION
	fetch "kafka-$1" copy-dependencies -f "$here/pom.xml" -DincludeScope=runtime -Dkafka.version="$1"
	archive "$1"
}

# archive VERSION: the classes that a broker loads, as Java keeps them in memory; halves the processor time of each
# start. A broker that starts and ends in good order writes it. Java goes without where it does not fit.
archive() {
	local to=$CACHE/kafka-$1.jsa work
	if [[ -e $to || -n ${ARCHIVE_TO:-} ]]; then
		return
	fi
	(
		flock 9
		[[ ! -e $to ]] || exit 0
		work=$(mktemp -d)
		if ARCHIVE_TO=$to.new bash "$here/broker.sh" start "$work" --version "$1" 9>&-; then
			bash "$here/broker.sh" halt "$work" 1
		fi
		bash "$here/broker.sh" stop "$work"
		rm -rf "$work"
		mv "$to.new" "$to" 2>/dev/null || : >"$to" # empty: not tried again
	) 9>"$CACHE/lock"
}

# Client compiler and serial collector: a broker starts sooner with them and needs less memory.
launch_node() { # NODE
	local share=-XX:SharedArchiveFile=$CACHE/kafka-$KAFKA_VERSION.jsa
	[[ -z ${ARCHIVE_TO:-} ]] || share=-XX:ArchiveClassesAtExit=$ARCHIVE_TO
	launch "node-$1" java "-Xmx${KAFKA_HEAP_MB}m" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 "$share" \
		-XX:+ExitOnOutOfMemoryError -Djava.awt.headless=true -Dorg.slf4j.simpleLogger.showDateTime=true \
		-Dorg.slf4j.simpleLogger.dateTimeFormat='HH:mm:ss.SSS' -Dorg.slf4j.simpleLogger.showThreadName=false \
		-cp "$CACHE/kafka-$KAFKA_VERSION/*" kafka.Kafka "$dir/node-$1.properties"
}

# serving NODE OFFSET: a broker says so once the controller lets it take part.
serving() {
	said "node-$1" "$2" 'Kafka Server started'
}

# ---- start

properties() { # NODE
	local node=$1 replicas=$nodes isr=1 listeners advertised map voters='' other property
	local login=org.apache.kafka.common.security
	[[ $nodes -eq 3 ]] && isr=2
	for ((other = 1; other <= nodes; other++)); do
		voters+="${voters:+,}$other@127.0.0.1:${control[other]}"
	done
	advertised="PLAINTEXT://127.0.0.1:${plain[node]}"
	listeners="$advertised,CONTROLLER://127.0.0.1:${control[node]}"
	map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
	if [[ $sasl == yes ]]; then
		advertised+=",SASL_SSL://127.0.0.1:${secure[node]}"
		listeners+=",SASL_SSL://127.0.0.1:${secure[node]}"
		map+=,SASL_SSL:SASL_SSL
	fi
	if [[ -n $behind ]]; then
		advertised+=",BEHIND://127.0.0.1:$(cut -d, -f"$node" <<<"$behind")"
		listeners+=",BEHIND://127.0.0.1:${shadow[node]}"
		map+=,BEHIND:PLAINTEXT
	fi
	cat <<-END
		process.roles=broker,controller
		node.id=$node
		controller.quorum.voters=$voters
		controller.listener.names=CONTROLLER
		inter.broker.listener.name=PLAINTEXT
		listeners=$listeners
		advertised.listeners=$advertised
		listener.security.protocol.map=$map
		log.dirs=$dir/node-$node

		auto.create.topics.enable=false
		default.replication.factor=$replicas
		min.insync.replicas=$isr
		offsets.topic.num.partitions=5
		offsets.topic.replication.factor=$replicas
		transaction.state.log.num.partitions=5
		transaction.state.log.replication.factor=$replicas
		transaction.state.log.min.isr=$isr
		group.initial.rebalance.delay.ms=0
		# A killed broker's partitions wait for this before they move, and it before it may come back; default 9 s.
		broker.session.timeout.ms=4000
		broker.heartbeat.interval.ms=1000
		# 8 MiB hold the hashes of 300,000 keys a pass; the default takes 128 of the heap.
		log.cleaner.dedupe.buffer.size=8388608
		num.network.threads=2
		num.io.threads=4
	END
	if [[ $KAFKA_VERSION == 4.* ]]; then
		printf '%s\n' "share.coordinator.state.topic.replication.factor=$replicas" \
			"share.coordinator.state.topic.min.isr=$isr"
	fi
	if [[ $sasl == yes ]]; then
		cat <<-END

			sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512
			listener.name.sasl_ssl.plain.sasl.jaas.config=$login.plain.PlainLoginModule required user_sluice="$password" user_limited="$limited";
			listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=$login.scram.ScramLoginModule required;
			ssl.keystore.type=PEM
			ssl.keystore.location=$dir/ssl/node.pem
		END
	fi
	if [[ $acl == yes ]]; then
		printf '%s\n' authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer \
			'super.users=User:ANONYMOUS;User:sluice'
	fi
	# The last line of a key counts.
	for property in "${extra[@]}"; do
		case $property in
		[123]:*) [[ ${property%%:*} == "$node" ]] && printf '%s\n' "${property#*:}" ;;
		*) printf '%s\n' "$property" ;;
		esac
	done
	return 0
}

write_env() {
	local node plain_list='' secure_list='' behind_list=''
	for ((node = 1; node <= nodes; node++)); do
		plain_list+="${plain_list:+,}127.0.0.1:${plain[node]}"
		secure_list+="${secure_list:+,}127.0.0.1:${secure[node]:-}"
		behind_list+="${behind_list:+,}127.0.0.1:$(cut -d, -f"$node" <<<"$behind")"
	done
	{
		echo "KAFKA_BOOTSTRAP=$plain_list"
		echo "KAFKA_NODES=$nodes"
		echo "KAFKA_VERSION=$KAFKA_VERSION"
		echo "KAFKA_HEAP_MB=$KAFKA_HEAP_MB"
		for ((node = 1; node <= nodes; node++)); do
			echo "KAFKA_PORT_$node=${plain[node]}"
			echo "KAFKA_PID_$node=$(cat "$dir/node-$node.pid")"
			[[ -z $behind ]] || echo "KAFKA_BEHIND_PORT_$node=${shadow[node]}"
		done
		if [[ $sasl == yes ]]; then
			echo "KAFKA_SASL_BOOTSTRAP=$secure_list"
			printf 'KAFKA_CA=%q\n' "$dir/ssl/ca.pem"
			echo "KAFKA_USER=sluice"
			echo "KAFKA_PASSWORD=$password"
			echo "KAFKA_LIMITED_USER=limited"
			echo "KAFKA_LIMITED_PASSWORD=$limited"
		fi
		[[ -z $behind ]] || echo "KAFKA_BEHIND_BOOTSTRAP=$behind_list"
	} >"$dir/env.new"
	# For the programs that a shell starts behind `source`.
	echo "export $(cut -d= -f1 "$dir/env.new" | tr '\n' ' ')" >>"$dir/env.new"
	mv "$dir/env.new" "$dir/env"
}

# try: ports, properties, storage, processes; false when a broker ended before it served.
try() {
	local cluster node
	local -a ports scram=()
	free_ports $((4 * nodes))
	cluster=S$(od -An -N10 -tx1 /dev/urandom | tr -d ' \n')A # 22 characters of base64url, as Kafka wants
	if [[ $sasl == yes ]]; then
		certificates
		scram=(--add-scram "SCRAM-SHA-512=[name=sluice,password=$password]"
			--add-scram "SCRAM-SHA-512=[name=limited,password=$limited]")
	fi
	for ((node = 1; node <= nodes; node++)); do
		plain[node]=${ports[4 * node - 4]} control[node]=${ports[4 * node - 3]}
		secure[node]=${ports[4 * node - 2]} shadow[node]=${ports[4 * node - 1]}
	done
	for ((node = 1; node <= nodes; node++)); do
		: >"$dir/node-$node.log"
		properties "$node" >"$dir/node-$node.properties"
		java_tool kafka.tools.StorageTool format --ignore-formatted -t "$cluster" -c "$dir/node-$node.properties" \
			"${scram[@]}" >"$dir/format.log" 2>&1 ||
			die "the storage of node $node cannot be formatted: $(grep -m1 'xception' "$dir/format.log" || tail -n 1 "$dir/format.log")"
		launch_node "$node"
	done
	for ((node = 1; node <= nodes; node++)); do
		serving "$node" 0 || return 1
	done
}

start() {
	local attempt node
	mkdir -p "$dir"
	[[ ! -e $dir/env ]] || die "'$dir' has brokers already (its file env says which); stop them first"
	install "$KAFKA_VERSION"
	KAFKA_HEAP_MB=$((nodes == 1 ? 384 : 320))
	password=$(random_word) limited=$(random_word)
	trap remove EXIT # whatever ends this early
	for attempt in 1 2 3; do
		if try; then
			write_env
			trap - EXIT
			return
		fi
		for ((node = 1; node <= nodes; node++)); do
			alive "node-$node" || tail -n 5 "$dir/node-$node.log" >&2
		done
		grep -qs 'Address already in use' "$dir"/node-*.log || attempt=3
		[[ $attempt -lt 3 ]] || die "the brokers did not start; their logs are '$dir/node-*.log'"
		remove
	done
}

# remove: also where start was cut off before it wrote env.
remove() {
	local file node
	bash "$here/registry.sh" stop "$dir"
	for file in "$dir"/node-*.pid; do
		[[ -e $file ]] || continue
		node=${file##*/node-} node=${node%.pid}
		finish "node-$node"
		rm "$file"
	done
	rm -rf "$dir"/node-[123] "$dir"/node-[123].properties "$dir"/{ssl,env,format.log}
}

# ---- a running one

load_env() {
	[[ -f $dir/env ]] || die "no brokers in '$dir'; start them first"
	# shellcheck disable=SC1091
	source "$dir/env"
}

node_of() { # ARGUMENT: checked, in node
	node=$1
	[[ $node =~ ^[1-9]$ && $node -le $KAFKA_NODES ]] || die "node '$node' is none of 1 to $KAFKA_NODES"
}

halt() {
	if signal TERM "node-$node"; then
		signal CONT "node-$node" || true
		ended "node-$node" 30 || finish "node-$node"
	fi
}

restart() {
	local offset
	halt
	offset=$(log_size "node-$node")
	launch_node "$node"
	sed -i "s/^KAFKA_PID_$node=.*/KAFKA_PID_$node=$(cat "$dir/node-$node.pid")/" "$dir/env"
	serving "$node" "$offset" || die "node $node does not start again: $(tail -n 1 "$dir/node-$node.log")"
}

java_tool() { # CLASS ARGUMENT...
	java -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
		-XX:SharedArchiveFile="$CACHE/kafka-$KAFKA_VERSION.jsa" -Dorg.slf4j.simpleLogger.defaultLogLevel=warn \
		-Dlog4j2.level=warn -cp "$CACHE/kafka-$KAFKA_VERSION/*" "$@"
}

tool() { # CLASS ARGUMENT...
	local class=$1
	shift
	# Where these were before 4.0.
	case $KAFKA_VERSION,$class in
	3.*,org.apache.kafka.tools.ConsoleProducer | 3.*,org.apache.kafka.tools.DumpLogSegments)
		class=kafka.tools.${class##*.}
		;;
	3.*,org.apache.kafka.tools.AclCommand | 3.*,org.apache.kafka.tools.BrokerApiVersionsCommand)
		class=kafka.admin.${class##*.}
		;;
	esac
	set -- "$class" "$@"
	case $1 in
	kafka.tools.StorageTool | *.DumpLogSegments | *Performance) java_tool "$@" ;;
	*)
		if [[ " $* " == *bootstrap* ]]; then
			java_tool "$@"
		else
			java_tool "$@" --bootstrap-server "$KAFKA_BOOTSTRAP"
		fi
		;;
	esac
}

command=${1:-}
case $command in
-h | --help)
	usage
	exit 0
	;;
install) shift ;;
start | stop | kill | halt | restart | pause | resume | tool | acl)
	the_dir "${2:-}"
	shift 2
	;;
*) die "unknown command '$command'; known: install start stop kill halt restart pause resume tool acl --help" ;;
esac

case $command in
install | start)
	KAFKA_VERSION=$CURRENT nodes=1 sasl=no acl=no behind='' extra=()
	declare -a plain=() control=() secure=() shadow=()
	while [[ $# -gt 0 ]]; do
		case $command,$1 in
		*,--version)
			KAFKA_VERSION=$(full_version "${2:?--version wants a version}")
			shift
			;;
		start,--nodes)
			nodes=${2:?--nodes wants 1 or 3}
			[[ $nodes == [13] ]] || die "--nodes '$nodes' is neither 1 nor 3"
			shift
			;;
		start,--property)
			extra+=("${2:?--property wants KEY=VALUE}")
			shift
			;;
		start,--behind)
			behind=${2:?--behind wants a port for each node}
			shift
			;;
		start,--sasl) sasl=yes ;;
		start,--acl) sasl=yes acl=yes ;;
		*) die "$command: unknown option '$1'; see broker.sh --help" ;;
		esac
		shift
	done
	if [[ -n $behind && ! $behind =~ ^[0-9]+(,[0-9]+){$((nodes - 1))}$ ]]; then
		die "--behind '$behind' wants $nodes port(s), with commas between"
	fi
	if [[ $command == install ]]; then
		install "$KAFKA_VERSION"
	else
		start
	fi
	;;
stop) remove ;;
kill | halt | restart | pause | resume)
	load_env
	node_of "${1:-}"
	case $command in
	kill)
		alive "node-$node" || die "node $node does not run"
		finish "node-$node"
		;;
	halt) halt ;;
	restart) restart ;;
	pause) signal STOP "node-$node" || die "node $node does not run" ;;
	resume) signal CONT "node-$node" || die "node $node does not run" ;;
	esac
	;;
tool)
	load_env
	[[ $# -gt 0 ]] || die "tool: no class given, such as org.apache.kafka.tools.TopicCommand"
	tool "$@"
	;;
acl)
	load_env
	tool org.apache.kafka.tools.AclCommand --add --allow-principal User:limited "$@"
	;;
esac
