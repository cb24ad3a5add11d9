#!/usr/bin/env bash
# real_server.sh -- a server that we did not write: llama.cpp's own, as it comes in the Python package xllamacpp, with a
# model of two layers and random weights made on the spot. What it says is nonsense; that it can be asked, understood and
# told apart is not.
#
#     tests/llm/real_server.sh [--build DIR] [--keep]
#
# One question of each kind that it offers, through `sluice run`: chat with a JSON schema (the step attributes), vectors
# (embed, /v1/embeddings); then its own words for a wrong key, a prompt that is too long, and a server that is gone.
# Skipped by name where pip cannot install it. The environment is kept in ~/.cache/sluice (SL_LLM_CACHE moves it).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
name=real_server.sh
. tests/llm/common.sh

begin "$@"
cache=${SL_LLM_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/sluice}/llama.cpp
mkdir -p "${cache%/*}"
exec 9>"$cache.lock"
flock 9 # two at once end with one installation
if [[ ! -f $cache/complete ]]; then
	command -v python3 >/dev/null || skip "no python3"
	rm -rf "$cache"
	if ! python3 -m venv "$cache" >"$dir/pip.log" 2>&1 ||
		! timeout 300 "$cache/bin/pip" install -q --only-binary :all: xllamacpp==2026.10.11549 gguf==0.19.0 numpy >>"$dir/pip.log" 2>&1; then
		skip "pip cannot install xllamacpp: $(tail -n 1 "$dir/pip.log")"
	fi
	touch "$cache/complete"
fi
exec 9>&-
"$cache/bin/python" tests/llm/tiny_model.py "$dir/tiny.gguf" || die "the model cannot be written"

# start chat|embedding [PORT]: its address in $address.
start() {
	: >"$dir/address"
	"$cache/bin/python" tests/llm/real_server.py "$dir/tiny.gguf" "$JUDGE_KEY" "$@" >"$dir/address" 2>"$dir/server.log" &
	started=$!
	within 60 test -s "$dir/address" || die "llama.cpp does not start: $(tail -n 3 "$dir/server.log")"
	address=$(cat "$dir/address")
}

topology=$dir/llm.yaml
write() { # KEY
	write_topology "$topology" ', timeout: 60s' "$(
		cat <<-END
			  - name: embed
			    from: pairs.described
			    to: { embedded: pairs.embedded, gold: pairs.gold }
			    backend: http
			    endpoint: vectors
			    dim: 64
		END
	)"
	sed -i -e "s|^  judge:.*|&\n  vectors: { url: \"$vectors/v1\", key: \"\${JUDGE_KEY}\", model: tiny }|" \
		-e "s|key: \"\${JUDGE_KEY}\", model: m,|key: \"$1\", model: tiny,|" -e 's/^prices:.*/prices: { tiny: { prompt: 1, completion: 2 } }/' \
		-e "s|^    prompt: .*|&\n    max_tokens: 400|" "$topology"
}

start embedding
extra_pid=$started vectors=$address
start chat
server_pid=$started port=${address##*:}
JUDGE_URL=$address/v1
code() { status "$dir/data" "sum(p['codes'].get('$1', 0) for s in d['steps'] for p in s['ports'])"; }

write '${JUDGE_KEY}'
fill "$dir/data" 20 1
run "$dir/data" --until-idle
run_ends
same_pairs "$dir/data" pairs.unique pairs.embedded
[[ $(code described) == 20 ]] || die "llama.cpp described $(code described) of 20 pairs: $(status "$dir/data" "d['steps'][1]['ports']")"
[[ $(status "$dir/data" "[s['calls']['spent'] > 0 for s in d['steps'] if s['name'] == 'attributes'][0]") == True ]] ||
	die "its usage is not understood: nothing was spent"
"$sluice" export -t "$topology" --data "$dir/data" --topic pairs.embedded --format full -o "$dir/out.jsonl" >/dev/null 2>&1 ||
	die "pairs.embedded cannot be exported"
python3 - "$dir/out.jsonl" <<-'END' || die "attributes or vectors are not what was asked for"
	import json, sys
	lines = [json.loads(l) for l in open(sys.argv[1])]
	assert len(lines) == 20, len(lines)
	for l in lines:
	    a = l["attributes"]
	    assert a["objectivity"] in ("objective", "subjective") and a["controversiality"] in ("low", "medium", "high"), a
	    assert "vectors" in l, l.keys()
END

# Its words for what is wrong.
write another-key
fill "$dir/data" 5 2
run "$dir/data"
refused() { [[ $(status "$dir/data" "[e['state'] for e in d['endpoints'] if e['name'] == 'judge'][0]") == unauthorized ]]; }
within 30 refused || die "a wrong key is not told: $(status "$dir/data" "d['endpoints']")"
run_stop

write '${JUDGE_KEY}'
"$sample" --pairs 3 --seed 3 --gold-share 0 --mean-bytes 65536 --duplicates 0 --near 0 --conflicts 0 --contaminated 0 \
	--broken 0 -o "$dir/sample" >/dev/null
python3 - "$dir/sample/raw.jsonl" >"$dir/long.jsonl" <<-'END'
	import json, sys
	for line in open(sys.argv[1]):
	    pair = json.loads(line)
	    pair["prompt"][-1]["content"] += " " + "and so on " * 5000
	    print(json.dumps(pair))
END
"$sluice" ingest -t "$topology" --data "$dir/data" "$dir/long.jsonl" >/dev/null 2>&1
sed -i 's/max_tokens: 400/&\n    text_max: 1MiB/' "$topology"
run "$dir/data" --until-idle
run_ends
[[ $(code too_long) == 3 ]] || die "a prompt that is too long is not told: $(status "$dir/data" "d['steps'][1]['ports']")"

server_stop
fill "$dir/data" 5 4
run "$dir/data"
away() { [[ $(status "$dir/data" "[e['state'] for e in d['endpoints'] if e['name'] == 'judge'][0]") == unreachable ]]; }
within 30 away || die "a server that is gone is not told: $(status "$dir/data" "d['endpoints']")"
start chat "$port"
server_pid=$started
settled() { [[ $(status "$dir/data" "sum(s['lag'] for s in d['steps'])") == 0 ]]; }
within 60 settled || die "the work does not go on: $(status "$dir/data" "d['steps']")"
run_stop
[[ $(code described) == 30 ]] || die "$(code described) pairs are described, not 30"
say "llama.cpp: $(code described) pairs described by schema and embedded; a wrong key, a long prompt and an absent server told apart"
