#!/usr/bin/env bash
# structure.sh -- the rules of the tree that a compiler does not check:
#
#     dependencies point one way: base <- schemas <- trainer <- operators <- topology
#     rdkafka.h, rocksdb/c.h, fyaml and microhttpd stay in their rooms
#     operators call nothing of the outside world
#     calls we do not use, lines too long, files too long, folders without a README
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

complaints=$(mktemp)
trap 'rm -f "$complaints"' EXIT
complain() { # HEADING, lines on standard input: none is good. At the end of a pipe, so it notes in a file.
	local lines
	lines=$(cat)
	if [[ -n $lines ]]; then
		printf '%s\n%s\n' "$1" "$lines" | tee -a "$complaints"
	fi
}
sources() { # FOLDER...
	find "$@" -maxdepth 1 -name '*.[ch]' | sort
}
# Which of our own headers the files of a folder include, as "file header".
includes() {
	sources "$1" | xargs -r awk -F'"' '/^#include "/ { print FILENAME, $2 }'
}
below() { # FOLDER FORBIDDEN-REGEX
	includes "$1" | awk -v re="$2" '$2 ~ re' | complain "$1/ must not include:"
}

below topology/base '(schemas|trainer|operators)/|^\.\./[a-z_]+\.h'
below schemas '(trainer|operators)/|\.\./topology/[a-z_]+\.h'
below trainer 'operators/|\.\./topology/[a-z_]+\.h'
# operators see the runtime through operator.h alone
below operators '\.\./topology/[a-z_]+\.h'

in_files() { # HEADER MOST: product files that include it
	local files
	files=$(grep -lE "#include <$1>" -r base schemas trainer operators topology --include='*.[ch]' 2>/dev/null || true)
	if [[ $(grep -c . <<<"$files") -gt $2 ]]; then
		printf '%s\n' "$files" | complain "<$1> is included by more than $2 files:"
	fi
}
in_files 'librdkafka/rdkafka\.h' 1
in_files 'rocksdb/c\.h' 1
in_files 'libfyaml\.h' 1
in_files 'microhttpd\.h' 3

sources schemas operators trainer topology topology/base topology/endpoint topology/kafka tests tests/data tests/sim tests/llm tests/bench | xargs grep -nE '\b(strcpy|strcat|sprintf|strtok|atoi|atof|gets)\(' |
	complain "calls we do not use:" || true
sources operators | xargs grep -nE '\b(malloc|calloc|realloc|time|clock_gettime|gettimeofday|pthread_[a-z_]+|fopen|open|socket|getenv)\(' |
	grep -vE '^[^:]+:[0-9]+:.*(->open\(|/?\*.*open\()' | complain "operators do not call:" || true
sources schemas operators trainer topology topology/base topology/endpoint topology/kafka | xargs awk 'length($0) > 128 { print FILENAME ":" FNR }' |
	complain "lines of over 128 characters:" || true
sources schemas operators trainer topology topology/base topology/endpoint topology/kafka | xargs wc -l | awk '$2 != "total" && $1 > 700 { print }' |
	complain "files of over 700 lines:"
for folder in . schemas operators topology topology/base topology/endpoint topology/kafka trainer tests tests/kafka tests/llm docker; do
	[[ -f $folder/README.md ]] || echo "$folder"
done | complain "folders without a README.md:"
git ls-files 2>/dev/null | cut -d/ -f1 | sort -u |
	grep -vE '^(CMakeLists\.txt|CMakePresets\.json|README\.md|LICENSE|operators|topology|schemas|trainer|tests|docker|\..*)$' |
	complain "top-level entries that the design does not have:" || true
for file in $(sources schemas operators trainer topology topology/base topology/endpoint topology/kafka | grep '\.[ch]$'); do
	head -1 "$file" | grep -q "^/\* $(basename "$file") -- " || echo "$file"
done | complain "files that do not open with their name and an essay:"

if [[ -s $complaints ]]; then
	exit 1
fi
echo "the structure holds"
