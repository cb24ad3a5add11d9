/* test_config.c -- topology files: bad ones and the exact error each gets, defaults, --set,
 * order and hosts, the plan. What is for Kafka alone is in test_config_kafka.c.
 *
 * The test brings its own operators: it defines sl_operators, so the linker does not take
 * the list of the build. */
#include "with_config.h"

struct split {
	double share;
	int64_t count, window_ms, memory_bytes;
	bool strict;
	const char *rule, *url;
	struct sl_list files, sides;
};

static const char *const rules[] = { "paper", "posterior", NULL };
static const char *const sides[] = { "left", "right", NULL };
static const char *const split_ports[] = { "left", "right", NULL };
static const struct sl_store_def split_stores[] = { { "seen", false }, { "index", true }, { 0 } };
static const struct sl_option split_options[] = {
	{ "share", SL_OPTION_REAL, offsetof(struct split, share), "0.8", 0.5, 1, NULL, true, NULL, "h", NULL, false },
	{ "count", SL_OPTION_COUNT, offsetof(struct split, count), "10", 1, 100, NULL, false, "pairs", "h", NULL,
	  false },
	{ "window", SL_OPTION_TIME_MS, offsetof(struct split, window_ms), "30s", 1, 86400000, NULL, true, NULL, "h",
	  NULL, false },
	{ "memory", SL_OPTION_SIZE, offsetof(struct split, memory_bytes), "16MiB", 1024, 1 << 30, NULL, false, NULL,
	  "h", NULL, false },
	{ "strict", SL_OPTION_BOOL, offsetof(struct split, strict), "false", 0, 0, NULL, false, NULL, "h", NULL,
	  false },
	{ "rule", SL_OPTION_TEXT, offsetof(struct split, rule), "paper", 0, 0, rules, false, NULL, "h", NULL, false },
	{ "url", SL_OPTION_TEXT, offsetof(struct split, url), "", 0, 0, NULL, false, NULL, "h", NULL, false },
	{ "files", SL_OPTION_LIST, offsetof(struct split, files), "", 0, 0, NULL, false, NULL, "h", NULL, false },
	{ "sides", SL_OPTION_LIST, offsetof(struct split, sides), "[left, right]", 0, 0, sides, false, NULL, "h", NULL,
	  false },
	{ 0 },
};
static const struct sl_operator split = { .name = "split",
					  .version = "1",
					  .options = split_options,
					  .ports = split_ports,
					  .stores = split_stores,
					  .self_size = sizeof(struct split) };

static const char *const lookup_tables[] = { "table", NULL };
static const struct sl_operator lookup = {
	.name = "lookup", .version = "2", .ports = pass_ports, .tables = lookup_tables
};

struct need {
	const char *what;
};
static const struct sl_option need_options[] = {
	{ "what", SL_OPTION_TEXT, offsetof(struct need, what), NULL, 0, 0, NULL, false, NULL, "the thing to need", NULL,
	  false },
	{ 0 },
};
static const struct sl_operator need = {
	.name = "need", .version = "1", .options = need_options, .ports = pass_ports, .self_size = sizeof(struct need)
};

const struct sl_operator *const sl_operators[] = { &split, &pass, &lookup, &asks, &need, NULL };

/* -- Helpers ----------------------------------------------------------------------- */

#define SPLIT TOP "steps:\n  - name: s\n    operator: split\n    from: pairs.raw\n    to: { left: l, right: r }\n"
/* raw -> s -> l -> a -> x -> b -> y; r; trainer gold on r */
#define CHAIN                                                                                                          \
	TOP "partitions: 2\n"                                                                                          \
	    "steps:\n"                                                                                                 \
	    "  - { name: b, operator: pass, from: x, to: { out: y } }\n"                                               \
	    "  - { name: s, operator: split, from: pairs.raw, to: { left: l, right: r } }\n"                           \
	    "  - { name: a, operator: lookup, from: l, to: { out: x }, tables: { table: models } }\n"                  \
	    "trainers:\n"                                                                                              \
	    "  - { name: final, from: [y, r], gold: r }\n"                                                             \
	    "  - { name: gold, from: r, gold: r, errors: gold.errors }\n"

/* -- Errors -------------------------------------------------------------------------- */

struct bad {
	const char *yaml;
	const char *set; /* one --set, or NULL */
	const char *error;
};

static const struct bad bad_files[] = {
	/* YAML */
	{ "", NULL, "some/t.yaml:1:1: the file is empty: a topology was expected" },
	{ "- a\n", NULL, "some/t.yaml:1:1: a topology is a map: topology, steps, ..." },
	{ TOP "data: [a\n", NULL, "some/t.yaml:3:1: not valid YAML: flow sequence without a closing bracket" },
	{ TOP "data: \xff\n", NULL, "some/t.yaml:2:7: not valid UTF-8 text" },
	{ TOP "data: a\ndata: b\n", NULL, "some/t.yaml:3:1: key 'data' stands twice, first on line 2" },
	{ TOP "data: &x a\n", NULL,
	  "some/t.yaml:2:10: anchors (&name) are not allowed: write the value out where it is used" },
	{ TOP "data: *x\n", NULL, "some/t.yaml:2:8: aliases (*name) are not allowed: write the value out" },
	{ TOP "data: !!str a\n", NULL, "some/t.yaml:2:13: tags (!name) are not allowed: each key knows its type" },
	{ TOP "? [a]\n: b\n", NULL, "some/t.yaml:2:3: a key must be a text" },
	{ ONE "---\na: b\n", NULL, "some/t.yaml:4:1: a second document begins: a file holds one topology" },
	{ TOP "data: \"a\\0b\"\n", NULL, "some/t.yaml:2:7: a text contains a NUL character" },
	{ "a: [[[[[[[[[[[[[[[[[[x]]]]]]]]]]]]]]]]]]\n", NULL, "some/t.yaml:1:20: nested deeper than 16 levels" },
	/* The top of the file */
	{ "steps: []\n", NULL,
	  "some/t.yaml:1:1: the topology needs 'topology': the name that tasks and groups begin with" },
	{ "topology: a b\n", NULL,
	  "some/t.yaml:1:11: name 'a b' of a topology is not 1 to 64 letters, digits, '_' or '-'" },
	{ TOP "partition: 2\n", NULL,
	  "some/t.yaml:2:1: unknown key 'partition' in the topology (did you mean 'partitions'?)" },
	{ TOP "zzz: 2\n", NULL, "some/t.yaml:2:1: unknown key 'zzz' in the topology" },
	{ TOP "partitions: 0\n", NULL, "some/t.yaml:2:13: 'partitions': '0' is out of range: 1 to 1000" },
	{ TOP "partitions: two\n", NULL, "some/t.yaml:2:13: 'partitions': 'two' is not a whole number" },
	{ TOP "partitions:\n", NULL, "some/t.yaml:2:1: 'partitions' has no value" },
	{ TOP "partitions: [1]\n", NULL, "some/t.yaml:2:13: 'partitions' must be a single value" },
	{ TOP "stream: { kind: embeded }\n", NULL,
	  "some/t.yaml:2:17: 'kind': 'embeded' is not one of: embedded, kafka (did you mean 'embedded'?)" },
	{ TOP "stream: { commit_every: 5 }\n", NULL,
	  "some/t.yaml:2:25: 'commit_every': '5' has no unit: write a time: 250ms, 30s, 5m, 24h or 7d" },
	{ TOP "stream: { commit_every: 2m }\n", NULL,
	  "some/t.yaml:2:25: 'commit_every': '2m' is out of range: 1ms to 1m" },
	{ TOP "stream: { comit_every: 2s }\n", NULL,
	  "some/t.yaml:2:11: unknown key 'comit_every' in 'stream' (did you mean 'commit_every'?)" },
	{ TOP "limits: { entry: 512KB }\n", NULL,
	  "some/t.yaml:2:18: 'entry': '512KB' is not a size: 100B, 512KiB, 16MiB or 1GiB" },
	{ TOP "limits: { entry: 1MiB }\n", NULL,
	  "some/t.yaml:2:9: limit 'entry' is larger than limit 'record': a pair grows on its way" },
	{ TOP "limits: 5\n", NULL, "some/t.yaml:2:9: 'limits' must be a map: { key: value }" },
	{ TOP "metrics: { listen: here }\n", NULL,
	  "some/t.yaml:2:20: 'listen': 'here' is not host:port, for example 127.0.0.1:9464, or off" },
	{ TOP "data: \"${HOME}\"\n", NULL,
	  "some/t.yaml:2:7: 'data' holds '${': environment variables are for addresses and secrets (url, key, ca, "
	  "listen, "
	  "brokers, user, password) only" },
	{ TOP "endpoints: { j: { url: \"${SL_NOT_SET}\" } }\n" ONE, NULL,
	  "some/t.yaml:3:1: key 'topology' stands twice, first on line 1" },
	{ ONE "endpoints: { j: { url: \"${SL_NOT_SET}\" } }\n", NULL,
	  "some/t.yaml:4:24: environment variable 'SL_NOT_SET' is not set" },
	{ ONE "endpoints: { j: { url: \"${\" } }\n", NULL,
	  "some/t.yaml:4:24: 'url' holds a '${' that is not '${NAME}'" },
	{ ONE "ingest: { to: a/b }\n", NULL,
	  "some/t.yaml:4:15: 'a/b' is not a topic name: 1 to 249 letters, digits, '.', '_' or '-'" },
	{ ONE "ingest: { ties: pairs.raw }\n", NULL,
	  "some/t.yaml:4:17: ingest writes pairs and ties to one topic 'pairs.raw'" },
	/* Steps */
	{ TOP, NULL, "some/t.yaml:1:1: the topology has no steps" },
	{ TOP "steps: a\n", NULL,
	  "some/t.yaml:2:8: 'steps' must be a list: - { name: dedupe, from: pairs.raw, to: ... }" },
	{ TOP "steps:\n  - { operator: pass }\n", NULL, "some/t.yaml:3:5: a step is a map with a 'name'" },
	{ TOP "steps:\n  - { name: topics }\n", NULL,
	  "some/t.yaml:3:13: 'topics' cannot be the name of a step: --set uses the word" },
	{ TOP "steps:\n  - { name: a.b }\n", NULL,
	  "some/t.yaml:3:13: name 'a.b' of a step is not 1 to 64 letters, digits, '_' or '-'" },
	{ TOP "steps:\n  - { name: spilt }\n", NULL, "some/t.yaml:3:13: no operator 'spilt' (did you mean 'split'?)" },
	{ TOP "steps:\n  - { name: a, operator: zebra }\n", NULL, "some/t.yaml:3:26: no operator 'zebra'" },
	{ ONE "  - { name: a, operator: pass, from: x, to: { out: y } }\n", NULL,
	  "some/t.yaml:4:13: step 'a' stands twice, first on line 3" },
	{ TOP "steps:\n  - { name: a, operator: pass, form: x, to: { out: y } }\n", NULL,
	  "some/t.yaml:3:32: unknown key 'form' in step 'a' (did you mean 'from'?)" },
	{ TOP "steps:\n  - { name: a, operator: pass, to: { out: y } }\n", NULL,
	  "some/t.yaml:3:5: step 'a' needs 'from'" },
	{ TOP "steps:\n  - { name: a, operator: pass, from: [x, z], to: { out: y } }\n", NULL,
	  "some/t.yaml:3:38: 'from' of step 'a' must be a single value" },
	{ TOP "steps:\n  - { name: a, operator: need, from: pairs.raw, to: { out: y } }\n", NULL,
	  "some/t.yaml:3:5: step 'a' needs 'what': the thing to need" },
	{ TOP "steps:\n  - { name: split, from: pairs.raw, to: { left: l } }\n", NULL,
	  "some/t.yaml:3:41: port 'right' of step 'split' is not bound: add to: { right: TOPIC }" },
	{ TOP "steps:\n  - { name: split, from: pairs.raw, to: { left: l, rigth: r } }\n", NULL,
	  "some/t.yaml:3:52: unknown key 'rigth' in 'to' of step 'split' (did you mean 'right'?)" },
	{ TOP "steps:\n  - { name: lookup, from: pairs.raw, to: { out: y } }\n", NULL,
	  "some/t.yaml:3:5: table 'table' of step 'lookup' is not bound: add tables: { table: TOPIC }" },
	{ ONE "    tables: { a: b }\n", NULL, "some/t.yaml:4:5: not valid YAML: did not find expected '-' indicator" },
	{ TOP "steps:\n  - { name: pass, from: pairs.raw, to: { out: dead.x } }\n", NULL,
	  "some/t.yaml:3:47: 'dead.x': topics 'dead.*' are the runtime's; `sluice replay` reads them" },
	/* Options */
	{ SPLIT "    share: 0.4\n", NULL, "some/t.yaml:7:12: 'share': '0.4' is out of range: 0.5 to 1" },
	{ SPLIT "    share: nan\n", NULL, "some/t.yaml:7:12: 'share': 'nan' is not a number" },
	{ SPLIT "    share: 0x1\n", NULL, "some/t.yaml:7:12: 'share': '0x1' is not a number" },
	{ SPLIT "    share: 1e999\n", NULL, "some/t.yaml:7:12: 'share': '1e999' is not a number" },
	{ SPLIT "    count: 101\n", NULL, "some/t.yaml:7:12: 'count': '101' is out of range: 1 to 100 pairs" },
	{ SPLIT "    count: 1.5\n", NULL, "some/t.yaml:7:12: 'count': '1.5' is not a whole number" },
	{ SPLIT "    count: 99999999999999999999\n", NULL,
	  "some/t.yaml:7:12: 'count': '99999999999999999999' is not a whole number" },
	{ SPLIT "    window: 200000000000d\n", NULL, "some/t.yaml:7:13: 'window': '200000000000d' is too large" },
	{ SPLIT "    window: 2d\n", NULL, "some/t.yaml:7:13: 'window': '2d' is out of range: 1ms to 1d" },
	{ SPLIT "    memory: 1B\n", NULL, "some/t.yaml:7:13: 'memory': '1B' is out of range: 1KiB to 1GiB" },
	{ SPLIT "    strict: yes\n", NULL, "some/t.yaml:7:13: 'strict': 'yes' is not true or false" },
	{ SPLIT "    rule: papers\n", NULL,
	  "some/t.yaml:7:11: 'rule': 'papers' is not one of: paper, posterior (did you mean 'paper'?)" },
	{ SPLIT "    sides: [left, up]\n", NULL, "some/t.yaml:7:12: 'sides': 'up' is not one of: left, right" },
	{ SPLIT "    files: { a: b }\n", NULL, "some/t.yaml:7:12: 'files' must be a list: [a, b]" },
	{ SPLIT "    files: [[a]]\n", NULL, "some/t.yaml:7:13: an item of 'files' must be a single value" },
	{ SPLIT "    batch_max: 0\n", NULL, "some/t.yaml:7:16: 'batch_max': '0' is out of range: 1 to 65536 pairs" },
	{ SPLIT "    shard: 1\n", NULL, "some/t.yaml:7:5: unknown key 'shard' in step 's' (did you mean 'share'?)" },
	/* The graph */
	{ TOP "steps:\n  - { name: a, operator: pass, from: pair.raw, to: { out: y } }\n", NULL,
	  "some/t.yaml:3:38: nothing writes topic 'pair.raw' (did you mean 'pairs.raw'?)" },
	{ ONE "  - { name: b, operator: pass, from: b1, to: { out: b2 } }\n"
	      "  - { name: c, operator: pass, from: b2, to: { out: b1 } }\n",
	  NULL, "some/t.yaml:4:5: steps form a cycle without a trainer in it: b -> c -> b" },
	{ TOP "steps:\n  - { name: a, operator: pass, from: pairs.raw, to: { out: pairs.raw } }\n", NULL,
	  "some/t.yaml:3:5: steps form a cycle without a trainer in it: a -> a" },
	{ ONE "  - { name: b, operator: pass, from: x, to: { out: pairs.raw } }\n", NULL,
	  "some/t.yaml:3:5: steps form a cycle without a trainer in it: a -> b -> a" },
	{ ONE "  - { name: l, operator: lookup, from: x, to: { out: y }, tables: { table: models } }\n", NULL,
	  "some/t.yaml:4:76: nothing writes topic 'models'" },
	{ ONE "  - { name: l, operator: lookup, from: x, to: { out: y }, tables: { table: x } }\n", NULL,
	  "some/t.yaml:4:40: topic 'x' is a table: it is looked up, a step cannot read it" },
	{ CHAIN "topics: { z: { partitions: 1 } }\n", NULL,
	  "some/t.yaml:10:11: no step, trainer or ingest uses topic 'z'" },
	{ CHAIN "topics: { gold.error: { segment: 1MiB } }\n", NULL,
	  "some/t.yaml:10:11: no step, trainer or ingest uses topic 'gold.error' (did you mean 'gold.errors'?)" },
	{ CHAIN "topics: { models: { partitions: 2 } }\n", NULL,
	  "some/t.yaml:10:33: topic 'models' has one writer and 1 partition" },
	{ CHAIN "topics: { dead.a: { partitions: 2 } }\n", NULL,
	  "some/t.yaml:10:33: topic 'dead.a' has the partitions of the input of step 'a'" },
	{ CHAIN "topics: { models: { retention: until_read } }\n", NULL,
	  "some/t.yaml:10:32: topic 'models' must be kept: it is a table" },
	{ CHAIN "topics: { r: { retention: until_read } }\n", NULL,
	  "some/t.yaml:10:27: topic 'r' must be kept: a trainer reads it again for every version" },
	{ CHAIN "topics: { dead.a: { retention: until_read } }\n", NULL,
	  "some/t.yaml:10:32: topic 'dead.a' must be kept: no step reads it" },
	{ CHAIN "topics: { x: { retntion: keep } }\n", NULL,
	  "some/t.yaml:10:16: unknown key 'retntion' in topic 'x' (did you mean 'retention'?)" },
	/* Inline */
	{ CHAIN "inline: [x, w]\n", NULL, "some/t.yaml:10:13: no step, trainer or ingest uses topic 'w'" },
	{ CHAIN "inline: [pairs.raw]\n", NULL,
	  "some/t.yaml:10:10: topic 'pairs.raw' cannot be inline: no step writes it" },
	{ CHAIN "inline: [y]\n", NULL, "some/t.yaml:10:10: topic 'y' cannot be inline: a trainer reads it" },
	{ CHAIN "inline: [models]\n", NULL, "some/t.yaml:10:10: topic 'models' cannot be inline: no step writes it" },
	{ CHAIN "inline: [l]\n", NULL,
	  "some/t.yaml:10:10: topic 'l' cannot be inline: it has 2 partitions and its writer 's' reads 1: set "
	  "topics.l.partitions" },
	{ CHAIN "topics: { x: { inline: true, segment: 1MiB } }\n", NULL,
	  "some/t.yaml:10:24: topic 'x' cannot be inline: it has a retention or a segment size, so it is stored" },
	{ ONE "  - { name: b, operator: asks, from: x, to: { out: y } }\ninline: [x]\n", NULL,
	  "some/t.yaml:5:10: topic 'x' cannot be inline: step 'b' asks the outside and needs a task of its own" },
	{ ONE "  - { name: b, operator: pass, from: x, to: { out: y } }\n"
	      "  - { name: c, operator: pass, from: x, to: { out: y } }\ninline: [x]\n",
	  NULL, "some/t.yaml:6:10: topic 'x' cannot be inline: more than one step reads it" },
	{ ONE "inline: [x]\n", NULL, "some/t.yaml:4:10: topic 'x' cannot be inline: no step reads it" },
	/* Trainers */
	{ ONE "trainers: [{ name: glod, from: x }]\n", NULL,
	  "some/t.yaml:4:20: 'glod' is not a trainer: gold, best, posterior or final (did you mean 'gold'?)" },
	{ ONE "trainers: [{ name: gold }]\n", NULL,
	  "some/t.yaml:4:12: trainer 'gold' needs 'from': a topic or a list of topics" },
	{ ONE "trainers: [{ name: gold, from: x }]\n", NULL, "some/t.yaml:4:12: nothing writes topic 'pairs.gold'" },
	{ ONE "trainers: [{ name: gold, from: [x, x], gold: x }]\n", NULL,
	  "some/t.yaml:4:36: 'from' of trainer 'gold' names 'x' twice" },
	{ ONE "trainers: [{ name: best, from: x, gold: x, errors: e }]\n", NULL,
	  "some/t.yaml:4:44: 'errors' is a key of trainer 'gold' only: errors on gold pairs" },
	{ ONE "trainers: [{ name: best, from: x, gold: x, folds: 1 }]\n", NULL,
	  "some/t.yaml:4:51: 'folds': '1' is out of range: 0 or 2 to 20" },
	{ ONE "trainers: [{ name: best, from: x, gold: x }, { name: best, from: x, gold: x }]\n", NULL,
	  "some/t.yaml:4:54: trainer 'best' stands twice" },
	{ ONE "trainers: [{ name: posterior, from: x }, { name: best, from: x, gold: x }]\n", NULL,
	  "some/t.yaml:4:12: trainer 'posterior' calibrates the model 'gold', which no trainer trains: add "
	  "- { name: gold, from: pairs.gold }" },
	{ ONE "trainers: [{ name: gold, from: x, gold: x }, { name: posterior, from: x, epochs: 2 }]\n", NULL,
	  "some/t.yaml:4:74: unknown key 'epochs' in trainer 'posterior'" },
	{ ONE "trainers: [{ name: best, from: models, gold: x }]\n", NULL,
	  "some/t.yaml:4:32: topic 'models' is written by a trainer: it can be a table, not an input" },
	/* Kafka */
	{ TOP "stream: { kind: kafka }\n" STEPS, NULL,
	  "some/t.yaml:2:9: 'stream' needs 'brokers': host:port of one or more brokers, with commas" },
	{ TOP STEPS, "stream.kind=kafka",
	  "--set stream.kind=kafka: 'stream' needs 'brokers': host:port of one or more brokers, with commas" },
	{ TOP "stream: { kind: kafka, brokers: b }\n" STEPS, NULL,
	  "some/t.yaml:2:33: 'brokers': 'b' is not host:port, or several with commas, for example 127.0.0.1:9092" },
	{ TOP "stream: { kind: kafka, brokers: \"b:1,,b:2\" }\n" STEPS, NULL,
	  "some/t.yaml:2:33: 'brokers': 'b:1,,b:2' is not host:port, or several with commas, for example "
	  "127.0.0.1:9092" },
	{ TOP "stream: { kind: kafka, brokers: \"b:65536\" }\n" STEPS, NULL,
	  "some/t.yaml:2:33: 'brokers': 'b:65536' is not host:port, or several with commas, for example "
	  "127.0.0.1:9092" },
	{ TOP "stream: { kind: kafka, brokers: \"SASL_SSL://b:1\" }\n" STEPS, NULL,
	  "some/t.yaml:2:33: 'brokers': 'SASL_SSL://b:1' is not host:port, or several with commas, for example "
	  "127.0.0.1:9092" },
	{ TOP "stream: { kind: kafka, brokers: \"${SL_SECRET}\" }\n" STEPS, NULL,
	  "some/t.yaml:2:33: 'brokers': '${SL_SECRET}' is not host:port, or several with commas, for example "
	  "127.0.0.1:9092" },
	{ TOP "stream: { kind: kafka, brokers: [\"b:1\"] }\n" STEPS, NULL,
	  "some/t.yaml:2:33: 'brokers' must be a single value" },
	{ TOP "stream: { kind: kafka, brokers: \"b:1\", durability: os }\n" STEPS, NULL,
	  "some/t.yaml:2:40: 'stream.durability' is for stream.kind 'embedded', and here it is 'kafka'" },
	{ KAFKA STEPS, "stream.durability=os",
	  "--set stream.durability=os: 'stream.durability' is for stream.kind 'embedded', and here it is 'kafka'" },
	{ TOP "stream: { brokers: \"b:1\" }\n" STEPS, NULL,
	  "some/t.yaml:2:11: 'stream.brokers' is for stream.kind 'kafka', and here it is 'embedded'" },
	{ TOP STEPS, "stream.members=2",
	  "--set stream.members=2: 'stream.members' is for stream.kind 'kafka', and here it is 'embedded'" },
	{ TOP "kafka: { a: b }\n" STEPS, NULL,
	  "some/t.yaml:2:10: 'kafka.a' is for stream.kind 'kafka', and here it is 'embedded'" },
	{ TOP "registry: { url: \"http://h\" }\n" STEPS, NULL,
	  "some/t.yaml:2:13: 'registry.url' is for stream.kind 'kafka', and here it is 'embedded'" },
	{ KAFKA STEPS, "stream.prefix=a/b",
	  "--set stream.prefix=a/b: 'prefix': 'a/b' is not up to 64 letters, digits, '.', '_' or '-'" },
	{ KAFKA STEPS, "stream.replication=-1",
	  "--set stream.replication=-1: 'replication': '-1' is out of range: 0 to 100 copies" },
	{ KAFKA STEPS, "stream.members=65",
	  "--set stream.members=65: 'members': '65' is out of range: 1 to 64 threads" },
	{ KAFKA STEPS, "stream.member=2",
	  "--set stream.member=2: unknown key 'member' in 'stream' (did you mean 'members'?)" },
	{ KAFKA STEPS, "stream.prefix=__x",
	  "some/t.yaml:1:11: '__xt.meta': topics that begin with '__' are the "
	  "brokers' own" },
	{ KAFKA "steps:\n  - { name: leader, operator: pass, from: pairs.raw, to: { out: x } }\n", NULL,
	  "some/t.yaml:4:5: 'leader' cannot be the name of a step on Kafka: group 't.leader' is the runtime's" },
	{ KAFKA "steps:\n  - { name: a, operator: pass, from: pairs.raw, to: { out: pairs_raw } }\n", NULL,
	  "some/t.yaml:4:60: topics 'pairs.raw' and 'pairs_raw' cannot both be on Kafka: '.' and '_' count as one "
	  "letter there" },
	{ KAFKA "steps:\n  - { name: a, operator: pass, from: pairs.raw, to: { out: t.a.memo } }\n", NULL,
	  "some/t.yaml:4:60: topics 't.a.memo' and 't.a.memo' cannot both be on Kafka: '.' and '_' count as one "
	  "letter there" },
	/* Registry */
	{ KAFKA "registry: { user: u }\n" STEPS, NULL,
	  "some/t.yaml:3:11: 'registry' needs 'url': address of a Confluent Schema Registry, for example "
	  "\"${REGISTRY_URL}\"" },
	{ KAFKA STEPS, "registry.url=h:1",
	  "--set registry.url=h:1: 'url' of 'registry': 'h:1' is not http://HOST:PORT or https://HOST:PORT" },
	{ KAFKA "registry: { url: \"http://u:hunter2@h:1\" }\n" STEPS, NULL,
	  "some/t.yaml:3:18: 'url' of 'registry' holds '@': write 'user' and 'password' as keys of their own" },
	{ KAFKA "registry: { url: \"http://h\", user: u }\n" STEPS, NULL,
	  "some/t.yaml:3:11: 'registry' has 'user' without 'password': give both or none" },
	{ KAFKA "registry: { url: \"http://h\", user: \"\" }\n" STEPS, NULL,
	  "some/t.yaml:3:36: 'user' of 'registry' is empty: give it a value or leave it out" },
	{ KAFKA "registry: { url: \"http://h\", pasword: hunter2 }\n" STEPS, NULL,
	  "some/t.yaml:3:30: unknown key 'pasword' in 'registry' (did you mean 'password'?)" },
	{ KAFKA "registry: { url: \"${SL_NOT_SET}\" }\n" STEPS, NULL,
	  "some/t.yaml:3:18: environment variable 'SL_NOT_SET' is not set" },
	/* Properties */
	{ KAFKA "kafka: ssl\n" STEPS, NULL, "some/t.yaml:3:8: 'kafka' must be a map: { security.protocol: SASL_SSL }" },
	{ KAFKA "kafka: { security: { protocol: ssl } }\n" STEPS, NULL,
	  "some/t.yaml:3:20: 'kafka.security' must be a single value: a property's name is one word with dots in it, "
	  "as kafka: { security.protocol: SSL }" },
	{ KAFKA "kafka: { a b: c }\n" STEPS, NULL,
	  "some/t.yaml:3:10: 'a b' is not the name of a librdkafka property, for example security.protocol" },
	{ KAFKA "kafka: { a.b: }\n" STEPS, NULL, "some/t.yaml:3:10: 'kafka.a.b' has no value" },
	{ KAFKA "kafka: { sasl.password: \"${SL_NOT_SET}\" }\n" STEPS, NULL,
	  "some/t.yaml:3:25: environment variable 'SL_NOT_SET' is not set" },
	{ KAFKA "kafka: { sasl.password: \"hunter2${\" }\n" STEPS, NULL,
	  "some/t.yaml:3:25: 'kafka.sasl.password' holds a '${' that is not '${NAME}'" },
	{ KAFKA STEPS, "kafka.sasl.password=hunter2${",
	  "--set kafka.sasl.password=***: 'kafka.sasl.password' holds a '${' that is not '${NAME}'" },
	{ KAFKA STEPS, "kafka.=x", "--set kafka.=x: 'kafka.' is not a key: write step.key or topics.NAME.key" },
	/* Models */
	{ ONE "models: { dir: \"\" }\n", NULL, "some/t.yaml:4:16: 'dir' of 'models' is empty: name a folder" },
	{ ONE "models: { }\n", NULL, "some/t.yaml:4:9: 'models' needs 'dir': folder of models/NAME/VERSION" },
	{ ONE "models: { dirs: x }\n", NULL, "some/t.yaml:4:11: unknown key 'dirs' in 'models' (did you mean 'dir'?)" },
	{ TOP "steps:\n  - { name: kafka }\n", NULL,
	  "some/t.yaml:3:13: 'kafka' cannot be the name of a step: --set uses the word" },
	/* --set */
	{ CHAIN, "kafka.sasl.password", "--set ***: '***' is not key=value, for example dedupe.jaccard=0.7" },
	{ CHAIN, "s.shard=1", "--set s.shard=1: unknown key 'shard' in step 's' (did you mean 'share'?)" },
	{ CHAIN, "s.share=2", "--set s.share=2: 'share': '2' is out of range: 0.5 to 1" },
	{ CHAIN, "gold.min_pair=2",
	  "--set gold.min_pair=2: unknown key 'min_pair' in trainer 'gold' (did you mean 'min_pairs'?)" },
	{ CHAIN, "glod.min_pairs=2", "--set glod.min_pairs=2: no step, trainer or key 'glod' (did you mean 'gold'?)" },
	{ ONE "endpoints: { j: { url: http://h/v1 } }\n", "j.retries=3",
	  "--set j.retries=3: 'j' is an endpoint: write endpoints.j.retries" },
	{ CHAIN, "stream.comit_every=1s",
	  "--set stream.comit_every=1s: unknown key 'comit_every' in 'stream' (did you mean 'commit_every'?)" },
	{ CHAIN, "partitions", "--set partitions: 'partitions' is not key=value, for example dedupe.jaccard=0.7" },
	{ CHAIN, "s=1", "--set s=1: 's' is a step or trainer: write s.key=value" },
	{ CHAIN, "s..x=1", "--set s..x=1: 's..x' is not a key: write step.key or topics.NAME.key" },
	{ CHAIN, "s.name=b", "--set s.name=b: a name is given in the file, its state hangs on it" },
	{ CHAIN, "s.from.x=b", "--set s.from.x=b: 's.from.x' leads through a value that has no keys" },
	{ CHAIN, "s.sides=left,,right", "--set s.sides=left,,right: 'sides': 'left,,right' has an empty item" },
	{ CHAIN, "topics.zz.inline=true", "--set topics.zz.inline=true: no step, trainer or ingest uses topic 'zz'" },
	{ CHAIN, "inline=x,w", "--set inline=x,w: no step, trainer or ingest uses topic 'w'" },
	{ CHAIN, "data=\xff", "--set: byte 6 of a value is not UTF-8 text" },
	{ CHAIN, "a.from=nowhere", "--set a.from=nowhere: nothing writes topic 'nowhere'" },
};

static void test_bad_files(void **state)
{
	size_t wrong = 0;

	(void)state;
	setenv("SL_SECRET", "hunter2", 1);
	for (size_t i = 0; i < sizeof bad_files / sizeof *bad_files; i++) {
		const struct bad *b = &bad_files[i];
		const char *sets[SETS_MAX] = { b->set };
		struct sl_error e;
		struct sl_topology *t = parse(b->yaml, sets, &e);

		if (t || e.verdict != SL_STOP || strcmp(e.text, b->error) != 0) {
			print_error("row %zu:\n  expected %s\n  got      %s\n", i, b->error, t ? "no error" : e.text);
			wrong++;
		}
		sl_topology_free(t);
	}
	assert_int_equal(wrong, 0);
}

/* -- What a good file becomes ------------------------------------------------------------ */

static void test_defaults(void **state)
{
	struct sl_topology *t = good(SPLIT, NULL);
	const struct split *self = t->steps[0].self_image;

	(void)state;
	assert_string_equal(t->name, "t");
	assert_string_equal(t->path, "some/t.yaml");
	assert_string_equal(t->folder, "some");
	assert_string_equal(t->data, "sluice-data");
	assert_string_equal(t->metrics_listen, "127.0.0.1:9464");
	assert_string_equal(t->without_gold, "stop");
	assert_true(t->durable);
	assert_int_equal(t->commit_every_ms, 100);
	assert_int_equal(t->commit_bytes, 8 << 20);
	assert_int_equal(t->entry_max_bytes, 512 << 10);
	assert_int_equal(t->record_max_bytes, 900 << 10);
	assert_int_equal(t->models, -1);
	assert_string_equal(t->topics[t->entry].name, "pairs.raw");
	assert_string_equal(t->topics[t->ties].name, "pairs.ties");
	assert_string_equal(t->topics[t->dead_ingest].name, "dead.ingest");
	assert_true(t->topics[t->entry].entry);
	assert_int_equal(t->topics[t->entry].segment_bytes, 64 << 20);
	assert_int_equal(t->steps[0].batch_max, 256);
	assert_true(self->share == 0.8);
	assert_int_equal(self->count, 10);
	assert_int_equal(self->window_ms, 30000);
	assert_int_equal(self->memory_bytes, 16 << 20);
	assert_false(self->strict);
	assert_string_equal(self->rule, "paper");
	assert_string_equal(self->url, "");
	assert_int_equal(self->files.count, 0);
	assert_int_equal(self->sides.count, 2);
	assert_string_equal(self->sides.at[1], "right");
	sl_topology_free(t);
}

static const struct sl_setting *setting(const struct sl_step *s, const char *name)
{
	for (size_t i = 0; i < s->setting_count; i++)
		if (strcmp(s->settings[i].name, name) == 0)
			return &s->settings[i];
	fail_msg("no setting '%s'", name);
	return NULL;
}

static void test_values_and_origins(void **state)
{
	const char *sets[] = { "s.strict=true", "s.files=a b, c.jsonl", "metrics=off", "s.batch_max=7" };
	struct sl_topology *t;
	const struct split *self;

	(void)state;
	setenv("SL_TEST_HOST", "example.org", 1);
	t = good(SPLIT "    share: 0.9\n    window: 5m\n    url: \"https://${SL_TEST_HOST}/v1\"\n    sides: right\n",
		 sets);
	self = t->steps[0].self_image;
	assert_true(self->share == 0.9);
	assert_int_equal(self->window_ms, 300000);
	assert_string_equal(self->url, "https://example.org/v1");
	assert_string_equal(setting(&t->steps[0], "url")->value, "https://${SL_TEST_HOST}/v1");
	assert_string_equal(setting(&t->steps[0], "share")->origin, "t.yaml:7:12");
	assert_string_equal(setting(&t->steps[0], "count")->origin, "default");
	assert_true(self->strict);
	assert_string_equal(setting(&t->steps[0], "strict")->origin, "--set");
	assert_int_equal(self->files.count, 2);
	assert_string_equal(self->files.at[0], "a b");
	assert_string_equal(self->files.at[1], "c.jsonl");
	assert_string_equal(setting(&t->steps[0], "files")->value, "[a b, c.jsonl]");
	assert_int_equal(self->sides.count, 1);
	assert_int_equal(t->steps[0].batch_max, 7);
	assert_null(t->metrics_listen);
	sl_topology_free(t);
}

/* Only what shapes the store changes the shape, however it is spelled. */
static void test_shape(void **state)
{
	const char *const spelled[] = { "s.window=30000ms", "s.share=0.80", "s.count=11", NULL };
	const char *const changed[] = { "s.window=31s", NULL };
	const char *const partitions[] = { "topics.pairs.raw.partitions=2", NULL };
	struct sl_topology *a = good(SPLIT, NULL), *b = good(SPLIT, spelled), *c = good(SPLIT, changed);
	struct sl_topology *d = good(SPLIT, partitions);

	(void)state;
	assert_true(a->steps[0].shape == b->steps[0].shape);
	assert_true(a->steps[0].shape != c->steps[0].shape);
	assert_true(a->steps[0].shape != d->steps[0].shape);
	sl_topology_free(a);
	sl_topology_free(b);
	sl_topology_free(c);
	sl_topology_free(d);
}

static const struct sl_topic *topic(const struct sl_topology *t, const char *name)
{
	int i = sl_topology_topic(t, name);

	assert_true(i >= 0);
	return &t->topics[i];
}

static void test_graph(void **state)
{
	struct sl_topology *t = good(CHAIN, NULL);

	(void)state;
	/* sorted, whatever the file's order; nothing shares a task */
	assert_int_equal(t->step_count, 3);
	assert_string_equal(t->steps[0].name, "s");
	assert_string_equal(t->steps[1].name, "a");
	assert_string_equal(t->steps[2].name, "b");
	for (int i = 0; i < 3; i++)
		assert_int_equal(t->steps[i].host, i);
	assert_string_equal(t->trainers[0].name, "gold");
	assert_string_equal(t->trainers[1].name, "final");
	assert_int_equal(t->trainers[1].errors, -1);
	assert_int_equal(t->trainers[1].from_count, 2);
	assert_string_equal(t->topics[t->trainers[0].errors].name, "gold.errors");

	assert_int_equal(topic(t, "pairs.raw")->partitions, 1);
	assert_int_equal(topic(t, "l")->partitions, 2);
	assert_int_equal(topic(t, "dead.s")->partitions, 1);
	assert_int_equal(topic(t, "dead.a")->partitions, 2);
	assert_int_equal(topic(t, "models")->partitions, 1);
	assert_int_equal(topic(t, "gold.errors")->partitions, 1);
	assert_true(topic(t, "models")->compacted);
	assert_false(topic(t, "r")->compacted);
	assert_int_equal(topic(t, "pairs.raw")->retention, SL_RETAIN_KEEP);
	assert_int_equal(topic(t, "l")->retention, SL_RETAIN_UNTIL_READ);
	assert_int_equal(topic(t, "x")->retention, SL_RETAIN_UNTIL_READ);
	assert_int_equal(topic(t, "y")->retention, SL_RETAIN_KEEP);
	assert_int_equal(topic(t, "r")->retention, SL_RETAIN_KEEP);
	assert_int_equal(topic(t, "models")->retention, SL_RETAIN_KEEP);
	assert_int_equal(topic(t, "dead.b")->retention, SL_RETAIN_KEEP);
	assert_int_equal(sl_topology_topic(t, "nope"), -1);
	assert_int_equal(sl_topology_step(t, "nope"), -1);
	sl_topology_free(t);
}

static void test_inline(void **state)
{
	const char *const one[] = { "topics.x.inline=true", NULL };
	const char *const all[] = { "inline=l,x", "partitions=1", NULL };
	const char *const none[] = { "inline=x", "topics.x.inline=false", NULL };
	struct sl_topology *t = good(CHAIN, one);

	(void)state;
	assert_true(topic(t, "x")->inlined);
	assert_int_equal(t->steps[2].host, 1);
	sl_topology_free(t);
	t = good(CHAIN, all);
	assert_int_equal(t->steps[1].host, 0);
	assert_int_equal(t->steps[2].host, 0);
	sl_topology_free(t);
	t = good(CHAIN, none);
	assert_false(topic(t, "x")->inlined);
	assert_int_equal(t->steps[2].host, 2);
	sl_topology_free(t);
}

static void test_several_writers(void **state)
{
	struct sl_topology *t = good(ONE "  - { name: b, operator: pass, from: pairs.raw, to: { out: x } }\n", NULL);
	struct sl_buf plan = { 0 };

	(void)state;
	sl_topology_plan(t, NULL, false, &plan);
	assert_non_null(strstr(sl_buf_text(&plan), "note: topic 'x' has several writers"));
	sl_buf_release(&plan);
	sl_topology_free(t);
}

static void test_load(void **state)
{
	struct sl_error e = { 0 };

	(void)state;
	assert_null(sl_topology_load("tests/no-such.yaml", NULL, 0, &e));
	assert_int_equal(e.verdict, SL_STOP);
	assert_non_null(strstr(e.text, "tests/no-such.yaml"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bad_files),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_values_and_origins),
		cmocka_unit_test(test_shape),
		cmocka_unit_test(test_graph),
		cmocka_unit_test(test_inline),
		cmocka_unit_test(test_several_writers),
		cmocka_unit_test(test_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
