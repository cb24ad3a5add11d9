/* fuzz_trainer_posterior.c -- hostile posterior.json. What opens must answer with probabilities, and written again
 * must open again as the same bytes. */
#include "trainer/posterior_file.h"

#include <assert.h>
#include <math.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ask(const struct sl_posterior *p, struct sl_bytes domain)
{
	static const double margins[] = { NAN, -1e300, -1, 0, 2.5, 1e300 };
	enum { COUNT = sizeof margins / sizeof margins[0] };

	for (size_t i = 0; i < (size_t)COUNT * COUNT * COUNT; i++) {
		struct sl_witnesses w = { .domain = domain,
					  .gold = margins[i % COUNT],
					  .best = margins[i / COUNT % COUNT],
					  .judge = margins[i / COUNT / COUNT],
					  .length = 1,
					  .label_noise = 0.2 };
		double x = sl_posterior_p(p, &w);

		assert(sl_witnesses_set(&w) ? x >= 0 && x <= 1 : isnan(x));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sl_posterior *p, *same;
	struct sl_buf text = { 0 }, again = { 0 };
	struct sl_error e = { 0 };

	if (!sl_posterior_parse((struct sl_bytes){ data, size }, &p, &e)) {
		assert(!p && e.verdict == SL_STOP && e.text[0]);
		return 0;
	}
	assert(sl_posterior_flip_low(p) >= 0 && sl_posterior_flip_low(p) <= 1);
	for (size_t d = 0; d < p->domain_count && d < 3; d++) {
		assert(sl_posterior_domain_find(p, p->domains[d].name) == d);
		ask(p, p->domains[d].name);
	}
	ask(p, sl_text("a domain that is not listed"));
	sl_posterior_encode(p, &text);
	assert(sl_posterior_parse(sl_buf_bytes(&text), &same, &e));
	sl_posterior_encode(same, &again);
	assert(sl_bytes_equal(sl_buf_bytes(&text), sl_buf_bytes(&again)));
	sl_posterior_close(p);
	sl_posterior_close(same);
	sl_buf_release(&text);
	sl_buf_release(&again);
	return 0;
}
