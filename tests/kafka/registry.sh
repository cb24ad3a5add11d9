#!/usr/bin/env bash
# registry.sh -- a real schema registry for tests: Apicurio Registry, through its interface that is Confluent's.
#
#     registry.sh install
#     registry.sh start DIR [--port PORT] [--basic-auth] [--tls]
#     registry.sh stop|kill|restart DIR
#
#     install   fetches it from Maven Central once (140 MB) into ~/.cache/sluice; start does so by itself
#     start     on a free port of 127.0.0.1, or the one given; returns when it answers. DIR/env, which broker.sh wrote
#               or this writes, then has REGISTRY_URL, and as asked for REGISTRY_USER and REGISTRY_PASSWORD, REGISTRY_CA
#     kill      SIGKILL; restart: again on the same port, with the schemas it had
#     stop      ends it and forgets the schemas; broker.sh stop does this too
#
# Karapace and Confluent's own are in no package registry. This one's keep the same ids, versions, error codes and
# rules of compatibility; it keeps its schemas in a file below DIR, not in Kafka, so it needs no broker. It knows no
# basic authentication without an identity server: with --basic-auth or --tls, front.py stands before it.
# Exit 77 with one line "skipped: ..." where Java 17, Maven, the network or Python is missing.
set -euo pipefail

# shellcheck source=tests/kafka/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# The last that Java 17 runs.
readonly VERSION=2.6.13.Final

install() {
	fetch "apicurio-$VERSION" unpack -Dartifact="io.apicurio:apicurio-registry-app:$VERSION:tar.gz:all"
}

# up: launches what DIR/registry.properties says; false when it ended before it answered.
up() {
	local offset
	# shellcheck disable=SC1091
	source "$dir/registry.properties"
	if [[ -e $dir/front.properties ]] && ! alive front; then
		launch front python3 "$here/front.py" "$dir/front.properties"
		said front 0 listening || return 1
	fi
	offset=$(log_size registry)
	# WRITE_DELAY: what was answered is in the file, so that kill forgets nothing.
	launch registry java -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
		-Dquarkus.http.host=127.0.0.1 -Dquarkus.http.port="$BACKEND" \
		-Dquarkus.datasource.jdbc.url="jdbc:h2:file:$dir/registry/schemas;WRITE_DELAY=0" \
		-jar "$CACHE/apicurio-$VERSION/apicurio-registry-app-$VERSION-runner.jar" "$dir/registry.properties"
	said registry "$offset" 'Listening on: '
}

forget_env() {
	if [[ -e $dir/env ]]; then
		sed -i '/^\(export \)\?REGISTRY_/d' "$dir/env"
		[[ -s $dir/env ]] || rm "$dir/env"
	fi
}

remove() {
	finish registry
	finish front
	rm -rf "$dir/registry" "$dir"/{registry,front}.{properties,pid}
	forget_env
	[[ -e $dir/env ]] || rm -rf "$dir/ssl"
}

start() {
	local port=$1 scheme=http user=registry password chosen=$1
	local -a ports
	[[ ! -e $dir/registry.properties ]] || die "'$dir' has a registry already; stop it first"
	mkdir -p "$dir"
	install
	if [[ $auth == yes || $tls == yes ]]; then
		command -v python3 >/dev/null || skip "no python3 for what stands before the registry"
	fi
	trap remove EXIT # whatever ends this early
	for _ in 1 2 3; do
		free_ports 2
		port=${chosen:-${ports[0]}}
		: >"$dir/registry.log"
		if [[ $auth == yes || $tls == yes ]]; then
			: >"$dir/front.log"
			password=$(random_word)
			echo "BACKEND=${ports[1]}" >"$dir/registry.properties"
			{
				printf '%s\n' "PORT=$port" "BACKEND=${ports[1]}"
				[[ $auth == no ]] || printf '%s\n' "USER=$user" "PASSWORD=$password"
				if [[ $tls == yes ]]; then
					certificates
					scheme=https
					echo "PEM=$dir/ssl/node.pem"
				fi
			} >"$dir/front.properties"
		else
			echo "BACKEND=$port" >"$dir/registry.properties"
		fi
		if up; then
			{
				echo "REGISTRY_URL=$scheme://127.0.0.1:$port/apis/ccompat/v7"
				[[ $auth == no ]] || printf '%s\n' "REGISTRY_USER=$user" "REGISTRY_PASSWORD=$password"
				[[ $tls == no ]] || echo "REGISTRY_CA=$dir/ssl/ca.pem"
				echo "export REGISTRY_URL REGISTRY_USER REGISTRY_PASSWORD REGISTRY_CA"
			} >>"$dir/env"
			trap - EXIT
			return
		fi
		grep -qs 'already in use\|already bound' "$dir"/{registry,front}.log || break
		[[ -z $chosen ]] || die "port $chosen is taken"
		finish registry
		finish front
	done
	tail -n 5 "$dir"/{front,registry}.log >&2 2>/dev/null || true
	die "the registry did not start; its logs are '$dir/registry.log' and, where it has a gateway, '$dir/front.log'"
}

command=${1:-}
case $command in
-h | --help)
	usage
	exit 0
	;;
install) install ;;
start | stop | kill | restart)
	the_dir "${2:-}"
	shift 2
	port='' auth=no tls=no
	while [[ $# -gt 0 ]]; do
		case $command,$1 in
		start,--port)
			port=${2:?--port wants a port}
			[[ $port =~ ^[0-9]+$ ]] || die "--port '$port' is no number"
			shift
			;;
		start,--basic-auth) auth=yes ;;
		start,--tls) tls=yes ;;
		*) die "$command: unknown option '$1'; see registry.sh --help" ;;
		esac
		shift
	done
	case $command in
	start) start "$port" ;;
	stop) remove ;;
	kill)
		alive registry || die "no registry runs in '$dir'"
		finish registry
		;;
	restart)
		[[ -e $dir/registry.properties ]] || die "no registry in '$dir'; start it first"
		finish registry
		up || die "the registry does not start again: $(tail -n 1 "$dir/registry.log")"
		;;
	esac
	;;
*) die "unknown command '$command'; known: install start stop kill restart --help" ;;
esac
