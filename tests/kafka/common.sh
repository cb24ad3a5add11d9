# shellcheck shell=bash
# common.sh -- what broker.sh and registry.sh share: the cache, words for failing and skipping, Maven's
# downloads, free ports, certificates, and processes that outlive the script. They source it and set dir.

# shellcheck disable=SC2034
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck disable=SC2034
readonly here
CACHE=$(realpath -m -- "${SL_KAFKA_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/sluice}")
readonly CACHE
readonly START_SECONDS=180 # a server that has said nothing by then is not coming
readonly MAVEN_PLUGIN=org.apache.maven.plugins:maven-dependency-plugin:3.8.1

usage() {
	sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p;}' "$0"
}

die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

skip() {
	printf 'skipped: %s\n' "$*" >&2
	exit 77
}

# the_dir ARGUMENT: checked and absolute, in dir.
the_dir() {
	[[ -n $1 ]] || die "no DIR given; see ${0##*/} --help"
	dir=$(realpath -m -- "$1")
	[[ $dir != *[[:space:]\"\\]* ]] || die "DIR '$dir' has a space, quote or backslash, which the servers' files cannot hold"
}

need_java() {
	local major
	command -v java >/dev/null || skip "no java; docker/setup.sh --kafka installs it"
	major=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p')
	[[ ${major:-0} -ge 17 ]] || skip "java is version '${major}', the servers need 17 or later"
}

# fetch NAME GOAL MAVEN-ARGUMENT...: runs the goal once, which fills $into, the folder that becomes $CACHE/NAME.
# A lock, so that two at once end with one download.
fetch() {
	local name=$1 goal=$2 into=$CACHE/$1.new
	shift 2
	need_java
	[[ -d $CACHE/$name ]] && return
	command -v mvn >/dev/null || skip "no Maven to fetch $name; docker/setup.sh --kafka installs it"
	mkdir -p "$CACHE"
	(
		flock 9
		[[ -d $CACHE/$name ]] && exit 0
		rm -rf "$into" "$into.work"
		mkdir "$into.work"
		cd "$into.work" || exit 1 # Maven reads any pom.xml it stands beside, and one goal leaves marks
		if ! mvn -B -q "$MAVEN_PLUGIN:$goal" "$@" -DoutputDirectory="$into" >"$CACHE/$name.log" 2>&1 9>&-; then
			skip "Maven cannot fetch $name: $(grep -m1 -o 'Could not[^>]*' "$CACHE/$name.log" || echo "see $CACHE/$name.log")"
		fi
		mv "$into" "$CACHE/$name"
		rm -rf "$into.work"
	) 9>"$CACHE/lock"
}

random_word() {
	od -An -N12 -tx1 /dev/urandom | tr -d ' \n'
}

# free_ports COUNT: in the array ports, all different, none in use, none that the kernel gives out by itself.
free_ports() {
	local low port
	read -r low _ </proc/sys/net/ipv4/ip_local_port_range
	((low > 20000)) || low=32768
	ports=()
	while [[ ${#ports[@]} -lt $1 ]]; do
		port=$((12000 + (RANDOM * 32768 + RANDOM) % (low - 12000)))
		if [[ " ${ports[*]} " != *" $port "* ]] && ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
			ports+=("$port")
		fi
	done
}

# certificates: a CA of our own, and one certificate for all servers of dir, as PEM, which brokers read since 2.7.
certificates() {
	local ssl=$dir/ssl
	[[ ! -f $ssl/node.pem ]] || return 0
	command -v openssl >/dev/null || skip "no openssl to make certificates"
	mkdir -p "$ssl"
	{
		openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj '/CN=sluice test CA' \
			-keyout "$ssl/ca.key" -out "$ssl/ca.pem" &&
			openssl req -new -newkey rsa:2048 -nodes -subj '/CN=127.0.0.1' \
				-keyout "$ssl/node.key" -out "$ssl/node.csr" &&
			openssl x509 -req -in "$ssl/node.csr" -CA "$ssl/ca.pem" -CAkey "$ssl/ca.key" -CAcreateserial -days 2 \
				-extfile <(echo 'subjectAltName=IP:127.0.0.1,DNS:localhost') -out "$ssl/node.crt"
	} >"$ssl/log" 2>&1 || die "openssl cannot make certificates: $(tail -1 "$ssl/log")"
	cat "$ssl/node.key" "$ssl/node.crt" "$ssl/ca.pem" >"$ssl/node.pem"
}

# ---- processes: NAME is ours while the process in DIR/NAME.pid names DIR/NAME.properties on its command line

alive() { # NAME
	local pid words='' try
	pid=$(cat "$dir/$1.pid" 2>/dev/null) || return 1
	# While one program becomes another (exec), a process has no command line for a millisecond; the dead never have.
	for ((try = 0; try < 50; try++)); do
		words=$({ tr '\0' '\n' <"/proc/$pid/cmdline"; } 2>/dev/null) || return 1
		[[ -z $words ]] || break
		grep -qs '^State:[[:space:]]*[^ZX[:space:]]' "/proc/$pid/status" || return 1
		sleep 0.02
	done
	grep -qxF "$dir/$1.properties" <<<"$words"
}

signal() { # SIGNAL NAME: whether there was one to signal
	alive "$2" && kill -s "$1" "$(cat "$dir/$2.pid")" 2>/dev/null
}

# ended NAME SECONDS: waits for it.
ended() {
	local deadline=$((SECONDS + $2))
	while alive "$1"; do
		[[ $SECONDS -lt $deadline ]] || return 1
		sleep 0.05
	done
}

# finish NAME: at once.
finish() {
	signal KILL "$1" || true
	ended "$1" 30 || die "$1 does not end; its process is $(cat "$dir/$1.pid")"
}

# launch NAME COMMAND...: in a session of its own, appending to DIR/NAME.log.
launch() {
	local name=$1
	shift
	setsid "$@" </dev/null >>"$dir/$name.log" 2>&1 &
	echo $! >"$dir/$name.pid"
	disown $!
	for _ in $(seq 100); do # until the fork has become the command, or has died
		alive "$name" && break
		sleep 0.02
	done
}

# said NAME OFFSET TEXT: waits until its log, from OFFSET on, has the text; false when the process ended instead.
said() {
	local deadline=$((SECONDS + START_SECONDS))
	until grep -q "$3" < <(tail -c "+$(($2 + 1))" "$dir/$1.log"); do
		if ! alive "$1" || [[ $SECONDS -ge $deadline ]]; then
			return 1
		fi
		sleep 0.1
	done
}

log_size() { # NAME
	stat -c %s "$dir/$1.log" 2>/dev/null || echo 0
}
