/* topology.h -- a topology file, read, checked and resolved.
 *
 * Everything the runtime needs is here as plain numbers and indexes: topics,
 * steps with their operators and option values, trainers, endpoints. Nothing is
 * looked up by name after this. A topology is immutable and owns all its memory.
 *
 * What is checked at load (each an error with file, line, column and, for an
 * unknown word, the nearest known one): every key known; every option in its
 * range; every port of every operator bound; every step's topic written by a step, a
 * trainer or ingest; no cycle without a trainer in it; inline edges have one
 * writer, one reader that does not ask, and equal partition counts; names legal
 * as Kafka topic names. */
#ifndef SL_TOPOLOGY_H
#define SL_TOPOLOGY_H

#include "../operators/operator.h"
#include "../topology/base/buf.h"

struct sl_node; /* yaml.h */

enum sl_retention { SL_RETAIN_UNTIL_READ, SL_RETAIN_KEEP };

#define SL_PARTITIONS_MOST 1000

struct sl_topic {
	const char *name;
	int32_t partitions;
	bool inlined;                /* no log: the reader runs inside the writer's task */
	bool compacted;              /* a table: latest value per key counts */
	enum sl_retention retention; /* default: keep raw, final, tables and dead letters, until_read between */
	int64_t segment_bytes;       /* 64 MiB */
	bool entry;                  /* ingest writes it */
};

/* One option's resolved text and where it came from, for `plan`. */
struct sl_setting {
	const char *name, *value, *origin; /* "default", "curate.yaml:12:5", "--set" */
};

struct sl_step {
	const char *name;
	const struct sl_operator *op;
	int from;                      /* topic index */
	const int *to;                 /* per port: topic index */
	const int *tables;             /* per table of the operator: topic index */
	int dead;                      /* topic index of dead.<name> */
	const void *self_image;        /* op->self_size bytes: the options in place, texts owned by the topology */
	uint64_t shape;                /* hash of the options that shape a store */
	int64_t batch_max;             /* records per batch, default 256 */
	int64_t ahead;                 /* batches that are asked about before their turn; steps that ask */
	double budget, budget_per_day; /* dollars, of all its calls; negative: no limit */
	int host;                      /* index of the step whose task runs this one; itself unless inlined */
	const struct sl_setting *settings;
	size_t setting_count;
};

/* A model trained by the runtime (topology/training.c; posterior_training.c, which uses from, the triggers and the
 * seed).
 */
struct sl_trainer_def {
	const char *name; /* gold, best, posterior, final: the role and the name of the model */
	const int *from;  /* topic indexes */
	size_t from_count;
	int gold;            /* topic index of the gold table: select and report come from it */
	int errors;          /* topic index of gold.errors, or -1; role gold only */
	const char *model;   /* linear */
	int64_t min_pairs;   /* below: not trained (gold: 200); posterior: audited pairs, below: no weights */
	int64_t every_pairs; /* retrain after so many new pairs; 0: never */
	int64_t interval_ms; /* retrain after so long if anything is new; 0: never */
	int64_t epochs, columns_log2, seed, folds;
	double learning_rate, l2;
	double best_drop; /* a version that is less accurate on select than the best one by more stays candidate */
	const struct sl_setting *settings;
	size_t setting_count;
};

/* What a model costs, in dollars per million tokens. */
struct sl_price {
	const char *model;
	double prompt, cached, completion; /* cached: of prompt tokens that the server had in its cache */
};

/* Whether questions wait for the Batch API, and for how many or how long (batches.h). */
struct sl_batching {
	bool on;
	int64_t questions_max, bytes_max; /* of a batch */
	int64_t wait_ms;                  /* after the first, then the batch is sent however small */
	int64_t poll_ms;
	double discount; /* what of the price is paid */
};

/* A place the outside is called through (topology/endpoint/). */
struct sl_endpoint_def {
	const char *name;
	struct sl_list urls;                            /* replicas of one server; each up to /v1 */
	struct sl_list keys;                            /* tried in turn; none: no Authorization header */
	const char *model;                              /* "" none */
	const char *ca;                                 /* a PEM file; "": the system's */
	const char *organization, *project;             /* sent along with the key to OpenAI; NULL: not */
	const char *http;                               /* "auto" (2 where TLS offers it), "1.1", "2"; NULL: auto */
	int64_t in_flight;                              /* calls under way at once, of all replicas */
	int64_t requests_per_minute, tokens_per_minute; /* 0: no limit of ours */
	int64_t connect_timeout_ms, timeout_ms;         /* of one attempt */
	int64_t retries;
	struct sl_batching batching;
	double budget, budget_per_day;     /* dollars; negative: no limit. A day is a day of UTC */
	const struct sl_price *price;      /* of its model; NULL: not known, and counted as nothing */
	const struct sl_setting *settings; /* as written: ${NAME} not replaced */
	size_t setting_count;
};

enum sl_stream_kind { SL_STREAM_EMBEDDED, SL_STREAM_KAFKA };

/* A librdkafka property under kafka:, passed on as it is. */
struct sl_property {
	const char *name, *value;
	const char *shown; /* the value as errors and the plan may show it: ${NAME} as written, secrets as *** */
	const struct sl_node *node; /* for errors; its place in the file */
};

/* stream: {kind: kafka}, registry: and kafka:. */
struct sl_kafka_def {
	const char *brokers; /* host:port, ...; NULL unless the stream is Kafka */
	const char *prefix;  /* of every topic, group and transactional id; "" */
	int64_t replication; /* of topics that are created; 0: the brokers' default */
	int64_t members;     /* of a step's consumer group, per process: its threads; 1 */
	const struct sl_property *properties;
	size_t property_count;
	const char *registry_url;                                    /* of a Confluent Schema Registry; NULL: none */
	const char *registry_user, *registry_password, *registry_ca; /* NULL: none; ca: a PEM file */
};

struct sl_topology {
	const char *name;
	const char *path;   /* of the file */
	const char *folder; /* its folder: relative paths start here */
	enum sl_stream_kind stream;
	struct sl_kafka_def kafka;
	bool durable; /* sync (default) or os; on Kafka false: the brokers have the truth, the local store is a copy */
	int64_t commit_every_ms, commit_bytes;
	struct sl_topic *topics;
	size_t topic_count;
	struct sl_step *steps; /* in dependency order */
	size_t step_count;
	struct sl_trainer_def *trainers;
	size_t trainer_count;
	struct sl_endpoint_def *endpoints;
	size_t endpoint_count;
	struct sl_price *prices;
	size_t price_count;
	int64_t memo_max_bytes, memo_max_age_ms; /* of the answers that a task keeps */
	int64_t drain_ms;                        /* at a stop, how long calls under way may still be answered */
	int entry, ties, dead_ingest;            /* topics ingest writes */
	int models;                              /* topic index of the models table, -1 without trainers */
	const char *without_gold; /* filter.without_gold: stop, llm_only, pass; "stop" if no step has the option */
	int64_t entry_max_bytes, record_max_bytes; /* 512 KiB, 900 KiB */
	const char *data;                          /* data folder from the file (data:), default sluice-data */
	const char *models_dir;      /* models.dir: where models/NAME/VERSION lie; NULL: the data folder */
	const char *metrics_listen;  /* "127.0.0.1:9464", NULL: off */
	struct sl_setting *settings; /* the top-level ones */
	size_t setting_count;
	struct sl_arena arena;
};

/* `sets`: texts "step.key=value" (also "trainer.key=value", "stream.key=value"
 * and the top-level "key=value"), applied over the file. NULL on failure. */
struct sl_topology *sl_topology_load(const char *path, const char *const *sets, size_t set_count,
				     struct sl_error *e) SL_MUST_CHECK;
/* The same from memory; `path` names it in errors. */
struct sl_topology *sl_topology_parse(const char *path, struct sl_bytes yaml, const char *const *sets, size_t set_count,
				      struct sl_error *e) SL_MUST_CHECK;
void sl_topology_free(struct sl_topology *t);
/* A hash of what shapes the stores of a step: its operator, its options that do, and the partitions that it reads,
 * because rows lie by them. */
uint64_t sl_step_shape(const struct sl_step *s, int64_t partitions);
int sl_topology_topic(const struct sl_topology *t, const char *name); /* -1: none */
int sl_topology_step(const struct sl_topology *t, const char *name);  /* -1: none */
/* Does the step put questions to the outside? One whose options can name endpoints does when they name any. */
bool sl_step_asks(const struct sl_step *s);
/* The port that pairs leave by whose questions wait for a batch; -1: the operator has none. */
int sl_deferred_port(const struct sl_operator *op);

/* The resolved topology, every derived name and where each option came from. `brokers`: what they have at the
 * moment, in lines (sl_stream_plan of stream.h); NULL: not asked. */
void sl_topology_plan(const struct sl_topology *t, const char *brokers, bool json, struct sl_buf *to);

#endif
