/* worlds.h -- the topologies that the simulator plays, what is fed to them, and what must come out:
 * a function of the input alone, computed here without the runtime. */
#ifndef SL_WORLDS_H
#define SL_WORLDS_H

#include "tests/actors.h"
#include "tests/trial.h"

#define SL_FED_MOST 48

/* One input, made from a seed. */
struct sl_fed {
	struct sl_pair pairs[SL_FED_MOST];
	size_t count;
	size_t broken_at; /* an undecodable record comes before this pair */
	struct sl_arena arena;
	struct sl_oracle *oracle; /* of the case that plays */
};

struct sl_world {
	const char *name;
	const char *yaml;
	void (*make)(struct sl_fed *fed, uint64_t seed);
	bool freeze;
	bool asks, forgets; /* answers that were paid for */
	bool same;          /* every topic and store ends as in the plain run; else only `right` holds */
	/* Whether the committed topics are what the input makes them; else says why. */
	bool (*right)(struct sl_trial *t, const struct sl_fed *fed, struct sl_buf *why);
};

extern const struct sl_world sl_worlds[];
extern const size_t sl_world_count;

/* struct sl_trial_case of a world with an input. */
struct sl_trial_case sl_world_case(const struct sl_world *w, struct sl_fed *fed);

#endif
