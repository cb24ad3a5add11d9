#!/usr/bin/env bash
# remote.sh -- a chain without a model of its own: vectors and rewards come from a server.
#
#     tests/llm/remote.sh [--pairs 200] [--share 0.05] [--seed 1] [--build DIR] [--keep]
#
# The server's rewards know the truth, so the rule of the paper must keep the pairs whose label is right. Runs:
#
#     messages         /classify of vLLM with messages: what is kept is right
#     openai, vllm     POST /v1/embeddings and /classify of vLLM: what is kept is right, each question was paid once
#     replayed         the pairs go through the chain again: nothing is asked
#     tei, sglang      POST /embed and /classify of SGLang: the same pairs are kept
#     failures         the same while a share of all requests fails in each of three ways: the same pairs are kept
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
name=remote.sh
. tests/llm/common.sh

pairs=200 share=0.05 seed=1
begin "$@"
topology=$dir/remote.yaml

write() { # EMBED-OPTIONS SCORE-OPTIONS VECTOR-URL
	cat >"$topology" <<-END
		topology: remote
		partitions: 2
		metrics: { listen: "127.0.0.1:0" }
		stream: { commit_every: 20ms }
		ingest: { to: pairs.raw, ties: pairs.ties }
		topics: { pairs.unique: { retention: keep } }
		endpoints:
		  vectors: { url: "$3", key: "\${JUDGE_KEY}", model: e, in_flight: 64, timeout: 5s, retries: 8 }
		  gold: { url: "http://127.0.0.1:$port", key: "\${JUDGE_KEY}", model: r, in_flight: 64, timeout: 5s, retries: 8 }
		steps:
		  - name: dedupe
		    from: pairs.raw
		    to: { unique: pairs.unique, duplicate: pairs.duplicate, conflict: pairs.conflict, contaminated: pairs.contaminated }
		  - { name: embed, from: pairs.unique, to: { embedded: pairs.embedded, gold: pairs.gold }, backend: http,
		      endpoint: vectors, dim: 64, $1 }
		  - { name: score, from: pairs.embedded, to: { scored: pairs.scored }, tables: { models: models },
		      remote: [gold], $2 }
		  - name: filter
		    from: pairs.scored
		    tables: { models: models }
		    to: { curated: pairs.curated, flipped: pairs.flipped, undecided: pairs.undecided, discarded: pairs.discarded }
		    rule: paper
		trainers:
		  - { name: final, from: pairs.curated, min_pairs: 1000000 }
	END
}

chain() { # FOLDER: to the end; what is kept, as lines in FOLDER.kept
	"$sluice" run -t "$topology" --data "$1" --until-idle >"$dir/run.log" 2>&1 || die "run of $1 failed"
	"$sluice" export -t "$topology" --data "$1" --topic pairs.curated -o "$dir/curated.jsonl" >/dev/null 2>&1
	sort "$dir/curated.jsonl" >"$1.kept"
}

ingest() { # FOLDER
	"$sluice" ingest -t "$topology" --data "$1" --time 2026-01-01T00:00:00Z "$dir/noisy/raw.jsonl" >/dev/null 2>&1
}

right() { # NAME LINES: two answers that end alike are one to the server, so a few may be wrong
	local kept wrong
	kept=$(wc -l <"$2")
	wrong=$("$sample" precision --truth "$dir/noisy/truth.jsonl" --json "$2" | of "d['wrong'] + d['unknown']")
	[[ $kept -gt $((pairs * 6 / 10)) && $((wrong * 30)) -le $kept ]] || die "$1: $wrong of $kept are wrong"
	say "$1: $kept of $pairs kept, $wrong of them wrong; $(stat_of requests) requests"
}

dead() { # FOLDER STEP
	"$sluice" status -t "$topology" --data "$1" --json | of "sum(t['records'] for t in d['topics'] if t['name'] == 'dead.$2')"
}

"$sample" --pairs "$pairs" --seed "$seed" --noise 0 --gold-share 0 --mean-bytes 900 --duplicates 0 --near 0 --conflicts 0 \
	--contaminated 0 --broken 0 -o "$dir/right" >/dev/null
"$sample" flip --share 0.3 --gold-share 0 --seed "$seed" -o "$dir/noisy" "$dir/right/raw.jsonl" >/dev/null
server --truth "$dir/right/raw.jsonl" --accuracy 1

write 'api: openai' 'remote_template: messages' "$JUDGE_URL"
ingest "$dir/m"
chain "$dir/m"
right messages "$dir/m.kept"

control '{"reset": true}'
write 'api: openai' 'remote_template: plain' "$JUDGE_URL"
ingest "$dir/a"
chain "$dir/a"
asked=$(stat_of requests) # pairs that share a prompt share its vector
[[ $asked -le $((2 * pairs)) && $asked -gt $pairs && $(stat_of repeated) == 0 ]] ||
	die "$pairs pairs were $asked requests, $(stat_of repeated) of them repeated"
right 'openai, vllm' "$dir/a.kept"

"$sluice" replay -t "$topology" --data "$dir/a" --topic pairs.unique --into embed >/dev/null 2>&1 || die "no replay"
cp "$dir/a.kept" "$dir/first.kept"
chain "$dir/a"
[[ $(stat_of requests) == "$asked" ]] || die "a replay was asked again: $(stat_of requests) requests"
cmp -s "$dir/first.kept" "$dir/a.kept" || die 'a replay keeps other pairs'
say 'replayed: nothing was asked'

write 'api: tei' 'remote_api: sglang, remote_template: plain' "http://127.0.0.1:$port"
ingest "$dir/b"
chain "$dir/b"
cmp -s "$dir/a.kept" "$dir/b.kept" || die 'tei and sglang keep other pairs'
say 'tei, sglang: the same pairs'

control "{\"reset\": true, \"faults\": \"500=$share,429=$share,reset_before=$share\"}"
ingest "$dir/c"
chain "$dir/c"
failed=$(of "d['requests'] - d['faults']['none']" <<<"$(curl -sS "http://127.0.0.1:$port/stats")")
[[ $failed -gt 0 ]] || die 'no request failed'
[[ $(dead "$dir/c" embed)$(dead "$dir/c" score) == 00 ]] || die 'dead letters'
cmp -s "$dir/a.kept" "$dir/c.kept" || die 'failures change what is kept'
say "failures: $failed of $(stat_of requests) requests failed, the same pairs"
