/* make_posterior.h -- versions of the posterior whose evidence is planted, for the tests of those who ask it.
 *
 *     domain   gold, best and judge are right in    so
 *     clear    90 %, 85 %, 85 %                     decided, the judge speaks
 *     mute     90 %, 85 %, 50 %                     decided, the judge has nothing to say
 *     coin     50 %, 50 %, 50 %                     blind
 *
 * 30 % of the arrived labels are wrong. */
#ifndef SL_MAKE_POSTERIOR_H
#define SL_MAKE_POSTERIOR_H

#include "make.h"
#include "topology/base/file.h"
#include "trainer/posterior.h"

#include <setjmp.h>
#include <stdarg.h>

#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct planted {
	const char *domain;
	double gold, best, judge;
};

static inline double make_chance(uint64_t *random)
{
	return (double)(sl_mix64(*random += 0x9e3779b97f4a7c15u) >> 11) * 0x1p-53;
}

/* A margin of either sign, positive with this probability, and the larger the surer. */
static inline double make_margin(uint64_t *random, double right)
{
	double size = 3 * make_chance(random);

	return make_chance(random) < (right == 0.5 ? 0.5 : right + (size - 1.5) * 0.06) ? size : -size;
}

/* `audited` of 2000 gold pairs in each domain are audited; fewer than 100: no weights. */
static inline void make_posterior_of(const char *folder, const char *judge, int audited)
{
	static const struct planted planted[] = { { "clear", 0.9, 0.85, 0.85 },
						  { "mute", 0.9, 0.85, 0.5 },
						  { "coin", 0.5, 0.5, 0.5 } };
	struct sl_evidence_rows rows = { 0 };
	struct sl_posterior_options o;
	struct sl_buf report = { 0 };
	struct sl_error e = { 0 };
	uint64_t random = 7;

	for (size_t d = 0; d < sizeof planted / sizeof planted[0]; d++)
		for (int i = 0; i < 2000; i++) {
			uint64_t name = (uint64_t)i * 10 + d;
			struct sl_evidence_row row = {
				.group = sl_hash128(&name, sizeof name),
				.domain = sl_text(planted[d].domain),
				.gold = make_margin(&random, planted[d].gold),
				.best = make_margin(&random, planted[d].best),
				.judge = make_chance(&random) < planted[d].judge ? 1 : -1,
				.confidence = 0.6,
				.length = make_chance(&random) < 0.5 ? 1 : -1,
				.audited = i < audited,
				.arrived_right = make_chance(&random) < 0.7,
			};

			sl_evidence_add(&rows, &row);
		}
	sl_posterior_options_default(&o);
	if (!sl_posterior_fit(&o, &rows, judge, folder, "{}", &report, &e))
		fail_msg("%s", e.text);
	sl_buf_release(&report);
	sl_evidence_release(&rows);
}

static inline void make_posterior(const char *folder, int audited)
{
	make_posterior_of(folder, "nearest", audited);
}

/* A group fixture: version 1 with weights, version 2 without, as posterior_folders[1] and [2]. */
static char posterior_folder[] = "/tmp/sluice-posterior-XXXXXX";
static char posterior_folders[3][64];

static inline int make_posteriors(void **unused)
{
	(void)unused;
	assert_non_null(mkdtemp(posterior_folder));
	for (int version = 1; version <= 2; version++) {
		snprintf(posterior_folders[version], sizeof posterior_folders[version], "%s/%d", posterior_folder,
			 version);
		make_posterior(posterior_folders[version], version == 1 ? 2000 : 10);
	}
	return 0;
}

static inline int remove_posteriors(void **unused)
{
	struct sl_error e;

	(void)unused;
	return sl_folder_remove(posterior_folder, &e) ? 0 : -1;
}

/* In topic `models`; version 0: announced absent. */
static inline bool make_announcement(struct sl_trial *t, const char *name, int64_t version, const char *folder)
{
	struct sl_model_record m = { .name = sl_text(name), .version = version, .sequence = 1, .uri = sl_text(folder) };
	struct sl_record r = { .key = sl_text(name) };
	struct sl_buf b = { 0 };
	bool done;

	sl_model_encode(&m, &b);
	r.value = sl_buf_bytes(&b);
	done = sl_trial_feed_record(t, "models", &r);
	sl_buf_release(&b);
	return done;
}

#endif
