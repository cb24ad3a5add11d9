/* config.h -- what the files that read a topology share; private to them.
 *
 *     yaml.c          text to a tree with places
 *     sets.c          --set, as changes of that tree
 *     options.c       values, by table
 *     config.c        the top of the file, topics; load, parse, free
 *     config_endpoints.c endpoints, prices, memo; options that name endpoints
 *     config_stream.c stream, registry, kafka, models: where topics live
 *     config_steps.c  steps, their operators and ports
 *     config_trainers.c
 *     config_graph.c  who writes and reads what: order, hosts, retention, every check of the whole
 *     plan.c          the resolved topology as text and JSON
 *
 * Everything read lives in the topology's arena, the tree included. */
#ifndef SL_CONFIG_H
#define SL_CONFIG_H

#include "options.h"

#define SL_CONFIG_TOPICS_MAX 1000
#define SL_CONFIG_STEPS_MAX 200
#define SL_CONFIG_TOPIC_NAME_MAX 249 /* Kafka's limit */

/* What a file says about a topic beside its name; 0 and NULL: nothing. */
struct sl_topic_keys {
	int64_t partitions, segment_bytes;
	const char *retention;
	const struct sl_node *node;        /* its entry below topics: */
	const struct sl_node *inline_node; /* where it is called inline; NULL: nowhere */
};

/* One reading of a file. Arrays of nodes run beside the arrays of the topology. */
struct sl_config {
	struct sl_topology *t;
	struct sl_arena *a;
	struct sl_node *root;
	int64_t partitions;          /* of a topic that says nothing else */
	struct sl_settings settings; /* the top-level ones */
	struct sl_topic_keys *topic_keys;
	const struct sl_node **topic_nodes; /* first mention */
	size_t topic_capacity;
	const struct sl_node **step_nodes, **trainer_nodes;
	struct sl_error *e;
};

/* The index of the topic, added at its first mention; -1: not a legal name, c->e is set. */
int sl_config_topic(struct sl_config *c, const struct sl_node *node, const char *name);
/* The same for the child `key` of a map, which must be there. `what` names the map in errors. */
int sl_config_topic_of(struct sl_config *c, const struct sl_node *map, const char *key, const char *what);
/* dead.<step>, a name that files cannot use. */
int sl_config_dead_topic(struct sl_config *c, const struct sl_node *node, const char *step);
/* Names of topologies, steps and endpoints: letters, digits, '_' and '-'; at most 64. */
bool sl_config_name(struct sl_config *c, const struct sl_node *node, const char *what, const char *name);
/* The names of all topics, NULL-ended, for a hint. */
const char *const *sl_config_topic_names(struct sl_config *c);

/* A map of the top level by its table into `self`; its settings are added as <name>.<key>. `others`: keys that
 * other tables read (NULL: none). */
bool sl_config_section(struct sl_config *c, const char *name, const struct sl_option *table, const char *const *others,
		       void *self);

bool sl_config_sets(struct sl_config *c, const char *const *sets, size_t set_count); /* sets.c */
bool sl_config_stream(struct sl_config *c);                                          /* config_stream.c */
bool sl_config_steps(struct sl_config *c);                                           /* config_steps.c */
bool sl_config_endpoints(struct sl_config *c);                                       /* config_endpoints.c */
/* When endpoints and steps are known: what options of steps call an endpoint is one. */
bool sl_config_endpoint_names(struct sl_config *c);
/* After the graph: who asks an endpoint with batch: true has a place for pairs that wait. */
bool sl_config_batches(struct sl_config *c);
bool sl_config_trainers(struct sl_config *c); /* config_trainers.c */
bool sl_config_graph(struct sl_config *c);    /* config_graph.c */

/* When all topics and steps are known: every name on the brokers is legal there and stands for one thing. */
bool sl_config_kafka_names(struct sl_config *c);

/* Who writes and reads a topic, for the checks and the plan (config_graph.c). */
bool sl_step_writes(const struct sl_step *s, int topic);
bool sl_step_looks_up(const struct sl_step *s, int topic);
bool sl_trainer_reads(const struct sl_trainer_def *d, int topic);
/* Records of the runtime's own: models, gold.errors. */
bool sl_topology_trained(const struct sl_topology *t, int topic);

#endif
