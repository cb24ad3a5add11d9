/* circuit.h -- whether something that may be away is asked at all: one for each replica, one for each key.
 *
 * Closed: everything passes. Five failures in a row, or one that trying again cannot cure, open it: nothing passes
 * until the pause is over, then one call does, to see. If that fails too the pause doubles, from 1 s to 60 s.
 * Pure: time (monotonic milliseconds) and chance come from outside. */
#ifndef SL_ENDPOINT_CIRCUIT_H
#define SL_ENDPOINT_CIRCUIT_H

#include <stdbool.h>
#include <stdint.h>

struct sl_circuit {
	const char *word;  /* NULL: closed; else why it is open, in a word of endpoint.h */
	char why[256];     /* what the last failure was */
	uint32_t failures; /* in a row */
	bool probing;      /* open, and a call is under way to see */
	int64_t pause_ms, try_at_ms, since_ms;
};

/* Whether a call may pass now. */
bool sl_circuit_passes(const struct sl_circuit *c, int64_t now_ms);
/* A call passes. True: it is the probe of an open circuit, and its end must be told as such. */
bool sl_circuit_enter(struct sl_circuit *c);
/* It ended: good, bad in this word (at_once: once is enough), or without saying anything about this circuit. */
void sl_circuit_good(struct sl_circuit *c);
void sl_circuit_bad(struct sl_circuit *c, bool probe, const char *word, bool at_once, const char *why, int64_t now_ms,
		    double random);
void sl_circuit_unclear(struct sl_circuit *c, bool probe);

#endif
