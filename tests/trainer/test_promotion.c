/* test_promotion.c -- who becomes champion: single verdicts by table, intervals that hold what they promise, and a
 * hundred retrains that each get a little worse, which must not wear the champion down.
 *
 * The models of the simulation are Gaussian: the margin of model i on pair j is
 *
 *     m_ij = Phi^-1(accuracy_i) + sqrt(SHARED) d_j + sqrt(1 - SHARED) e_ij
 *
 * where the difficulty d_j is partly its group's and the rest is noise. So the true accuracy of a model is known
 * exactly, and two models disagree on as many pairs as retrained ones do (6 to 8 %). */
#include "synthetic.h"

#include "../../trainer/evaluate.h"
#include "../../trainer/promotion.h"

#include <inttypes.h>
#include <math.h>

#define SHARED 0.97
#define GROUP_SHARED 0.4 /* of the difficulty */
#define SELECT 3000
#define GROWTH 20 /* pairs of select that a retrain brings, where gold grows */
#define RETRAINS 100
#define DRIFT 0.003
#define START 0.70

static double uniform(uint64_t *random)
{
	return ((double)(sl_mix64(*random += 0x9e3779b97f4a7c15u) >> 11) + 0.5) / 9007199254740992.0;
}

static double normal(uint64_t *random)
{
	double radius = sqrt(-2 * log(uniform(random)));

	return radius * cos(2 * 3.14159265358979323846 * uniform(random));
}

/* The margin at which a standard normal is positive with this probability. */
static double shift_of(double accuracy)
{
	double low = -8, high = 8;

	while (high - low > 1e-12) {
		double middle = (low + high) / 2;

		if (erfc(-middle / sqrt(2)) / 2 < accuracy)
			low = middle;
		else
			high = middle;
	}
	return low;
}

/* -- planted pairs ------------------------------------------------------------------------- */

/* Groups of one to four pairs, and a few of forty. */
struct field {
	struct sl_id *groups;
	double *difficulty;
	size_t count;
};

static void field_make(struct field *f, size_t count, uint64_t *random)
{
	uint64_t number = 0;

	*f = (struct field){ .count = count };
	f->groups = sl_calloc(count, sizeof *f->groups);
	f->difficulty = sl_calloc(count, sizeof *f->difficulty);
	for (size_t i = 0; i < count; number++) {
		double u = uniform(random), of_group = normal(random);
		size_t size = u < 0.6 ? 1 : u < 0.8 ? 2 : u < 0.99 ? 4 : 40;
		uint64_t name[2] = { number, *random };
		struct sl_id group = sl_hash128(name, sizeof name);

		for (; size > 0 && i < count; size--, i++) {
			f->groups[i] = group;
			f->difficulty[i] = sqrt(GROUP_SHARED) * of_group + sqrt(1 - GROUP_SHARED) * normal(random);
		}
	}
}

static void field_release(struct field *f)
{
	free(f->groups);
	free(f->difficulty);
}

struct fake {
	double accuracy;
	double *margins;
};

static struct fake fake_model(const struct field *f, double accuracy, uint64_t *random)
{
	struct fake m = { accuracy, sl_calloc(f->count, sizeof *m.margins) };
	double shift = shift_of(accuracy);

	for (size_t i = 0; i < f->count; i++)
		m.margins[i] = shift + sqrt(SHARED) * f->difficulty[i] + sqrt(1 - SHARED) * normal(random);
	return m;
}

static double share_right(const double *margins, size_t count)
{
	double right = 0;

	for (size_t i = 0; i < count; i++)
		right += margins[i] > 0;
	return right / (double)count;
}

/* -- the draws ----------------------------------------------------------------------------- */

static void test_draws(void **state)
{
	uint64_t random = 1;
	size_t drawn[6] = { 0 }, both[6] = { 0 };

	(void)state;
	for (uint64_t i = 0; i < 10000; i++) {
		uint64_t number = sl_mix64(random += i);
		struct sl_id group = sl_hash128(&number, sizeof number);

		assert_int_not_equal(sl_select_drawn(group, 0), sl_select_drawn(group, 1));
		assert_int_not_equal(sl_select_drawn(group, 4), sl_select_drawn(group, 5));
		for (int64_t d = 0; d < 6; d++) {
			drawn[d] += sl_select_drawn(group, d);
			both[d] += sl_select_drawn(group, d) && sl_select_drawn(group, 2);
		}
	}
	for (size_t d = 0; d < 6; d++) {
		assert_in_range(drawn[d], 4800, 5200);
		if (d != 2 && d != 3)
			assert_in_range(both[d], 2350, 2650);
	}
}

/* A new draw after 50 uses and with new gold; tries go on, unless the best changes or the examples double. */
static void test_record(void **state)
{
	struct sl_promotion_record r = { 0 };

	(void)state;
	sl_promotion_best(&r, 1, 1000);
	for (int i = 1; i <= 50; i++) {
		sl_promotion_ask(&r, 300, 1000);
		assert_int_equal(r.draw, 0);
		assert_int_equal(r.uses, i);
		assert_int_equal(r.tries, i);
	}
	sl_promotion_ask(&r, 300, 1999);
	assert_int_equal(r.draw, 1);
	assert_int_equal(r.uses, 1);
	assert_int_equal(r.tries, 51);
	sl_promotion_ask(&r, 301, 2000);
	assert_int_equal(r.draw, 2);
	assert_int_equal(r.uses, 1);
	assert_int_equal(r.tries, 1);
	sl_promotion_ask(&r, 301, 3999);
	assert_int_equal(r.tries, 2);
	sl_promotion_best(&r, 54, 3999);
	assert_int_equal(r.best, 54);
	assert_int_equal(r.tries, 0);
	sl_promotion_ask(&r, 301, 3999);
	assert_int_equal(r.draw, 2);
	assert_int_equal(r.uses, 3);
	assert_int_equal(r.tries, 1);
}

/* -- single verdicts ------------------------------------------------------------------------ */

/* `pairs_per_group` pairs in each of `groups` groups; of every hundred groups the first `candidate` are right ... */
struct planted {
	size_t groups, pairs_per_group;
	size_t candidate, champion, best;
	size_t big;         /* pairs of one more group, which the candidate gets all wrong */
	size_t lost;        /* pairs of one more domain, one a group, which the candidate gets all wrong ... */
	size_t lost_groups; /* ... in so many groups */
};

static struct sl_trial_pair *plant(const struct planted *x, size_t *count)
{
	struct sl_trial_pair *pairs;
	size_t n = 0, room = x->groups * x->pairs_per_group + x->big + x->lost;

	pairs = sl_calloc(room + 1, sizeof *pairs);
	for (size_t g = 0; g < x->groups; g++) {
		for (size_t k = 0; k < x->pairs_per_group; k++)
			pairs[n++] = (struct sl_trial_pair){
				.group = sl_hash128(&g, sizeof g),
				.domain = 1,
				.candidate = g % 100 < x->candidate ? 1 : -1,
				.champion = g % 100 < x->champion ? 1 : -1,
				.best = g % 100 < x->best ? 1 : -1,
			};
	}
	for (size_t k = 0; k < x->big; k++)
		pairs[n++] = (struct sl_trial_pair){ .domain = 1, .candidate = -1, .champion = 1, .best = 1 };
	for (size_t k = 0; k < x->lost; k++) {
		size_t g = x->groups + k % x->lost_groups;

		pairs[n++] = (struct sl_trial_pair){
			.group = sl_hash128(&g, sizeof g), .domain = 2, .candidate = -1, .champion = 1, .best = 1
		};
	}
	*count = n;
	return pairs;
}

static void test_verdicts(void **state)
{
	static const struct {
		struct planted x;
		int64_t tries;
		bool promote, improves;
		const char *why;
	} rows[] = {
		{ { 0 }, 1, true, false, "select has 0 groups, with fewer than 10 the newest wins" },
		{ { 9, 50, 0, 90, 90, 0, 0, 0 }, 1, true, false, "select has 9 groups" },
		{ { 1000, 1, 70, 70, 70, 0, 0, 0 },
		  1,
		  true,
		  false,
		  "0.7000 on select, +0.0000 [+0.0000, +0.0000] to the champion, +0.0000 to the best" },
		{ { 1000, 1, 75, 70, 70, 0, 0, 0 }, 1, true, true, "0.7500 on select, +0.0500" },
		{ { 1000, 1, 65, 70, 70, 0, 0, 0 },
		  1,
		  false,
		  false,
		  "0.6500 on select, significantly below the champion: -0.0500" },
		/* the champion is weak, but once there was better */
		{ { 1000, 1, 66, 65, 70, 0, 0, 0 },
		  1,
		  false,
		  false,
		  "0.6600 on select, -0.0400 to the best version; needed at try 1: -0.0050" },
		/* by how much a version must seem better is a matter of how many were tried */
		{ { 200, 1, 71, 70, 70, 0, 0, 0 }, 1, true, false, "0.7100" },
		{ { 200, 1, 71, 70, 70, 0, 0, 0 }, 100, false, false, "0.7100 on select, +0.0100 to the best version" },
		{ { 1000, 1, 75, 70, 70, 0, 0, 0 }, 100, true, true, "0.7500" },
		/* one prompt with three hundred answers counts as 20 pairs */
		{ { 1000, 1, 75, 70, 70, 300, 0, 0 }, 1, true, false, "0.5769 on select, +0.0294" },
		/* a domain, 100 pairs from enough groups, fewer pairs, fewer groups */
		{ { 5000, 1, 75, 70, 70, 0, 100, 100 },
		  1,
		  false,
		  false,
		  "0.7353 on select, but 1.0000 below the champion on 100 pairs of one domain; allowed: 0.0500" },
		{ { 5000, 1, 75, 70, 70, 0, 99, 99 }, 1, true, true, "0.7354" },
		{ { 5000, 1, 75, 70, 70, 0, 108, 9 }, 1, true, true, "0.7341" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct sl_promotion_options o;
		struct sl_promotion p, again;
		size_t count;
		struct sl_trial_pair *pairs = plant(&rows[i].x, &count);

		sl_promotion_options_default(&o);
		o.tries = rows[i].tries;
		sl_promotion_decide(&o, pairs, count, &p);
		if (p.promote != rows[i].promote || p.improves != rows[i].improves ||
		    strncmp(p.why, rows[i].why, strlen(rows[i].why)) != 0)
			fail_msg("row %zu: %d %d '%s'", i, p.promote, p.improves, p.why);
		assert_int_equal(p.domain, strstr(p.why, "one domain") ? 2 : 0);
		assert_int_equal(p.candidate.count, count);
		for (size_t k = 0; k < count / 2; k++) { /* backwards */
			struct sl_trial_pair kept = pairs[k];

			pairs[k] = pairs[count - 1 - k];
			pairs[count - 1 - k] = kept;
		}
		sl_promotion_decide(&o, pairs, count, &again);
		assert_memory_equal(&p, &again, sizeof p);
		free(pairs);
	}
}

/* Nearly equal models lose 5 points in some of ten small domains by chance: no reason to refuse. */
static void test_domains_by_chance(void **state)
{
	uint64_t random = 5;
	size_t refused = 0, plain = 0;

	(void)state;
	for (size_t round = 0; round < 40; round++) {
		struct sl_promotion_options o;
		struct sl_promotion p;
		struct sl_trial_pair pairs[1200];
		bool down = false;

		for (size_t i = 0; i < 1200; i++) {
			double difficulty = shift_of(0.7) + sqrt(0.9) * normal(&random);
			uint64_t name = random;

			pairs[i] = (struct sl_trial_pair){ .group = sl_hash128(&name, sizeof name), .domain = i % 10 };
			pairs[i].candidate = difficulty + sqrt(0.1) * normal(&random);
			pairs[i].champion = pairs[i].best = difficulty + sqrt(0.1) * normal(&random);
		}
		for (size_t d = 0; d < 10; d++) {
			int gain = 0;

			for (size_t i = d; i < 1200; i += 10)
				gain += (pairs[i].candidate > 0) - (pairs[i].champion > 0);
			down |= gain < -0.05 * 120;
		}
		sl_promotion_options_default(&o);
		o.resamples = 200;
		o.best_drop = 1;
		sl_promotion_decide(&o, pairs, 1200, &p);
		refused += !p.promote && p.domain;
		plain += down;
	}
	print_message("[ domains  ] equal models, ten domains: some domain 5 points down in %zu of 40, refused %zu\n",
		      plain, refused);
	assert_true(plain >= 15);
	assert_true(refused <= 4);
}

/* -- the simulation -------------------------------------------------------------------------- */

enum rule { NAIVE, LENIENT, CAREFUL };

struct drift {
	const char *name;
	bool from_newest; /* each new version is DRIFT below the newest, not below the champion */
	bool gold_grows;  /* each retrain brings pairs of select: a new draw every time */
	bool more;        /* each retrain learns from more examples: six times as many in the end */
};

struct ending {
	double accuracy; /* the champion's, true */
	size_t promoted; /* how often */
	bool covered;    /* its accuracy on report, by interval */
	double reported;
};

static struct ending retrains(enum rule rule, const struct drift *d, uint64_t seed)
{
	uint64_t random = seed;
	size_t most = SELECT + (d->gold_grows ? RETRAINS * GROWTH : 0), count = SELECT;
	struct sl_trial_pair *pairs = sl_calloc(most, sizeof *pairs);
	struct sl_promotion_record record = { 0 };
	struct fake champion, best, new;
	struct field f, report;
	struct ending end = { 0 };
	double newest = START;

	field_make(&f, most, &random);
	field_make(&report, SELECT, &random);
	champion = fake_model(&f, START, &random);
	best = fake_model(&f, START, &random);
	memcpy(best.margins, champion.margins, f.count * sizeof *best.margins);
	sl_promotion_best(&record, 1, 1000);
	for (int64_t version = 2; version <= RETRAINS + 1; version++) {
		int64_t examples = d->more ? 1000 + 50 * (version - 1) : 1000;
		struct sl_promotion_options o;
		struct sl_promotion p = { 0 };
		size_t n = 0;

		newest = (d->from_newest ? newest : champion.accuracy) - DRIFT;
		new = fake_model(&f, newest, &random);
		count += d->gold_grows ? GROWTH : 0;
		sl_promotion_ask(&record, (int64_t)count, examples);
		for (size_t i = 0; i < count && rule != NAIVE; i++) {
			if (sl_select_drawn(f.groups[i], record.draw))
				pairs[n++] = (struct sl_trial_pair){ f.groups[i], i % 3, new.margins[i],
								     champion.margins[i], best.margins[i] };
		}
		sl_promotion_options_default(&o);
		o.resamples = 100;
		o.tries = rule == LENIENT ? 1 : record.tries;
		if (rule == NAIVE)
			p.promote = share_right(new.margins, count) >= share_right(champion.margins, count) - 0.005;
		else
			sl_promotion_decide(&o, pairs, n, &p);
		if (p.improves) {
			sl_promotion_best(&record, version, examples);
			best.accuracy = new.accuracy;
			memcpy(best.margins, new.margins, f.count * sizeof *best.margins);
		}
		if (p.promote) {
			free(champion.margins);
			champion = new;
			end.promoted++;
		} else {
			free(new.margins);
		}
	}
	end.accuracy = champion.accuracy;
	new = fake_model(&report, champion.accuracy, &random);

	struct sl_accuracy a = sl_accuracy_clustered(report.groups, new.margins, report.count);

	end.covered = a.low <= end.accuracy && end.accuracy <= a.high;
	end.reported = a.value;
	free(new.margins);
	free(champion.margins);
	free(best.margins);
	free(pairs);
	field_release(&f);
	field_release(&report);
	return end;
}

static void test_no_ratchet(void **state)
{
	static const struct drift drifts[] = {
		{ "from the champion", false, false, false },
		{ "from the champion, gold grows", false, true, false },
		{ "from the champion, gold and examples grow", false, true, true },
		{ "from the newest", true, false, false },
		{ "from the newest, gold grows", true, true, true },
	};
	static const char *const names[] = { "newest unless 0.5 points worse", "every try like the first", "as it is" };
	const char *seeds_text = getenv("SL_SEEDS");
	uint64_t seeds = seeds_text ? strtoull(seeds_text, NULL, 10) : 4;
	size_t covered = 0, asked = 0;

	(void)state;
	print_message("[ ratchet  ] %d retrains, each %.1f points worse; true accuracy of the champion, from %.3f,\n",
		      RETRAINS, 100 * DRIFT, START);
	print_message("[ ratchet  ] mean and least of %" PRIu64 " seeds\n", seeds);
	for (size_t d = 0; d < sizeof drifts / sizeof *drifts; d++) {
		print_message("[ ratchet  ] drift %s\n", drifts[d].name);
		for (int rule = NAIVE; rule <= CAREFUL; rule++) {
			double mean = 0, least = 1, promoted = 0;
			size_t below = 0;

			for (uint64_t seed = 1; seed <= seeds; seed++) {
				struct ending end = retrains((enum rule)rule, &drifts[d], sl_mix64(seed));

				mean += end.accuracy / (double)seeds;
				promoted += (double)end.promoted / (double)seeds;
				least = fmin(least, end.accuracy);
				below += end.accuracy < START - 0.01;
				covered += end.covered;
				asked++;
				if (rule == CAREFUL && !seeds_text && end.accuracy < START - 0.01)
					fail_msg("seed %" PRIu64 ": the champion fell to %.3f", seed, end.accuracy);
			}
			print_message(
				"[ ratchet  ]   %-32s %.3f %.3f, promoted %.1f times, below by over a point in %zu\n",
				names[rule], mean, least, promoted, below);
			if (rule == NAIVE && !drifts[d].from_newest)
				assert_true(mean < START - 0.03); /* it does ratchet: the simulation asks something */
		}
	}
	print_message("[ ratchet  ] report's interval holds the true accuracy in %zu of %zu\n", covered, asked);
	assert_true((double)covered > 0.88 * (double)asked);
}

/* And the other way: versions that do get better replace the champion, soon enough. */
static void test_improvements_pass(void **state)
{
	static const struct {
		double step;
		size_t pairs;
	} rows[] = { { 0.003, 3000 }, { 0.01, 3000 }, { 0.01, 600 }, { 0.03, 300 } };

	(void)state;
	for (size_t row = 0; row < sizeof rows / sizeof *rows; row++) {
		double lag = 0, end_lag = 0;
		const int seeds = 10, steps = 15;

		for (int seed = 1; seed <= seeds; seed++) {
			uint64_t random = sl_mix64((uint64_t)seed);
			struct sl_promotion_record record = { 0 };
			struct fake champion, best, new;
			struct field f;
			double accuracy = 0.6;

			field_make(&f, rows[row].pairs, &random);
			champion = best = fake_model(&f, accuracy, &random);
			best.margins = sl_malloc(f.count * sizeof *best.margins);
			memcpy(best.margins, champion.margins, f.count * sizeof *best.margins);
			sl_promotion_best(&record, 1, 1000);
			for (int64_t version = 2; version <= steps + 1; version++) {
				struct sl_trial_pair *pairs = sl_calloc(f.count, sizeof *pairs);
				struct sl_promotion_options o;
				struct sl_promotion p;

				accuracy = fmin(0.9, accuracy + rows[row].step);
				new = fake_model(&f, accuracy, &random);
				sl_promotion_ask(&record, (int64_t)f.count, 1000 * version);
				for (size_t i = 0; i < f.count; i++)
					pairs[i] = (struct sl_trial_pair){ f.groups[i], 0, new.margins[i],
									   champion.margins[i], best.margins[i] };
				sl_promotion_options_default(&o);
				o.resamples = 100;
				o.tries = record.tries;
				sl_promotion_decide(&o, pairs, f.count, &p);
				if (p.improves) {
					sl_promotion_best(&record, version, 1000 * version);
					memcpy(best.margins, new.margins, f.count * sizeof *best.margins);
				}
				if (p.promote) {
					free(champion.margins);
					champion = new;
				} else {
					free(new.margins);
				}
				free(pairs);
				lag += (accuracy - champion.accuracy) / seeds / steps;
			}
			end_lag += (accuracy - champion.accuracy) / seeds;
			free(champion.margins);
			free(best.margins);
			field_release(&f);
		}
		print_message("[ improve  ] %+.1f points a retrain, %zu pairs of select: champion %.1f points behind "
			      "the newest on "
			      "average, %.1f after %d\n",
			      100 * rows[row].step, rows[row].pairs, 100 * lag, 100 * end_lag, steps);
		assert_true(lag < 0.03);
	}
}

/* -- intervals --------------------------------------------------------------------------------- */

static void test_accuracy_clustered(void **state)
{
	double margins[40];
	struct sl_id groups[40];
	struct sl_accuracy a, plain;

	(void)state;
	a = sl_accuracy_clustered(NULL, NULL, 0);
	assert_int_equal(a.count, 0);
	assert_true(a.value == 0.5 && a.low == 0 && a.high == 1);
	for (size_t i = 0; i < 40; i++) {
		uint64_t g = i / 2;

		groups[i] = sl_hash128(&g, sizeof g);
		margins[i] = g % 4 ? 1 : g % 8 ? -1 : 0;
	}
	/* twenty groups of equal pairs are twenty pairs, but for Student's t */
	a = sl_accuracy_clustered(groups, margins, 40);
	plain = sl_accuracy_of(16.5, 20);
	assert_int_equal(a.count, 40);
	assert_true(fabs(a.value - 16.5 / 20) < 1e-12);
	assert_true(fabs(a.low - plain.low) < 0.03 && fabs(a.high - plain.high) < 0.03);
	for (size_t i = 0; i < 40; i++)
		margins[i] = 1;
	a = sl_accuracy_clustered(groups, margins, 40); /* nothing varies: by the number of groups */
	plain = sl_accuracy_of(20, 20);
	assert_true(a.value == 1 && fabs(a.low - plain.low) < 1e-12 && a.high == 1);
	a = sl_accuracy_clustered(groups, margins, 10); /* five groups */
	plain = sl_accuracy_of(5, 5);
	assert_true(fabs(a.low - plain.low) < 1e-12);
}

/* The interval holds the truth about as often as it says, also for few groups of uneven size; Wilson's over pairs does
 * not. */
static void test_coverage(void **state)
{
	static const struct {
		size_t pairs;
		double accuracy;
	} rows[] = { { 60, 0.7 }, { 200, 0.7 }, { 200, 0.94 }, { 1000, 0.6 }, { 3000, 0.7 } };
	const int rounds = 600;

	(void)state;
	for (size_t row = 0; row < sizeof rows / sizeof *rows; row++) {
		uint64_t random = row + 1;
		int held = 0, by_pairs = 0;
		double width = 0;

		for (int round = 0; round < rounds; round++) {
			struct sl_accuracy a, plain;
			struct field f;
			struct fake m;

			field_make(&f, rows[row].pairs, &random);
			m = fake_model(&f, rows[row].accuracy, &random);
			a = sl_accuracy_clustered(f.groups, m.margins, f.count);
			plain = sl_accuracy_of(a.value * (double)f.count, (int64_t)f.count);
			held += a.low <= rows[row].accuracy && rows[row].accuracy <= a.high;
			by_pairs += plain.low <= rows[row].accuracy && rows[row].accuracy <= plain.high;
			width += (a.high - a.low) / rounds;
			free(m.margins);
			field_release(&f);
		}
		print_message("[ coverage ] %4zu pairs, accuracy %.2f: %.3f by group, %.3f by pair; width %.3f\n",
			      rows[row].pairs, rows[row].accuracy, (double)held / rounds, (double)by_pairs / rounds,
			      width);
		assert_in_range(held, 0.9 * rounds, 0.985 * rounds);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_draws),
		cmocka_unit_test(test_record),
		cmocka_unit_test(test_verdicts),
		cmocka_unit_test(test_domains_by_chance),
		cmocka_unit_test(test_accuracy_clustered),
		cmocka_unit_test(test_coverage),
		cmocka_unit_test(test_improvements_pass),
		cmocka_unit_test(test_no_ratchet),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
