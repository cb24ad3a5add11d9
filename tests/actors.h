/* actors.h -- operators made for the tests of the runtime, honest and dishonest.
 *
 *     tally      counts the pairs of every group in a store; margin := the count, plus a thousandth per
 *                group with the same first byte (a scan); ports odd and even; rejects "bad" prompts
 *     expiring   a pair is fresh unless its group was seen at most 50 ms (of record time) before; tick
 *                reclaims old rows
 *     lookup     margin := gold pairs of the group in the table
 *     asker      asks endpoint `oracle` about the prompt, and again when told so; ports by the answer
 *     forgetful  tally with the truth in `self`: must be caught
 *     hasty      expiring, where tick decides what is old: must be caught
 *     fatal      abort()s on the magic word
 *
 * A test names those it wants in its own sl_operators, which replaces the product's list. */
#ifndef SL_ACTORS_H
#define SL_ACTORS_H

#include "../operators/operator.h"
#include "../topology/endpoint.h"

extern const struct sl_operator sl_actor_tally, sl_actor_expiring, sl_actor_lookup, sl_actor_asker, sl_actor_forgetful,
	sl_actor_hasty, sl_actor_fatal;

#define SL_EXPIRES_MS 50
#define SL_FATAL_WORD "xyzzy"

/* What the oracle says to a question is a function of the question alone. */
enum sl_reply { SL_REPLY_YES, SL_REPLY_AGAIN, SL_REPLY_GARBAGE, SL_REPLY_500, SL_REPLY_TIMEOUT, SL_REPLIES };
enum sl_reply sl_oracle_reply(struct sl_bytes question);
/* Its answers are JSON; garbage is not, so it is used once and asked for again. */
#define SL_SAID_YES "[\"yes\"]"
#define SL_SAID_AGAIN "[\"again\"]"

/* The lying endpoint: keeps the calls it was sent and settles them when it likes, in any order, over and
 * over across restarts. It counts what is paid: questions sent that it would answer. */
struct sl_oracle;
struct sl_oracle *sl_oracle_new(void);
void sl_oracle_free(struct sl_oracle *o);
/* For struct sl_trial_case: arg is the oracle. */
struct sl_endpoint *sl_oracle_endpoint(struct sl_oracle *o);
/* Settle some, seeded; NULL: all. */
void sl_oracle_turn(struct sl_oracle *o, uint64_t *seed);
size_t sl_oracle_sent(const struct sl_oracle *o);       /* all questions sent */
size_t sl_oracle_paid_twice(const struct sl_oracle *o); /* sent again after an answer was handed over or lost */
size_t sl_oracle_lost(const struct sl_oracle *o);       /* in flight when the endpoint was freed */

#endif
