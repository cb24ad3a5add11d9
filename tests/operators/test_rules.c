/* The whole truth table of rule `paper`, written out by hand, every branch of rule `posterior`, and what follows from
 * them: whom annotate asks. And the texts of per_source. */
#include "make_posterior.h"

#include "operators/asking.h"
#include "operators/reverse.h"

/* Letters of the table: gold and best are for (+), against (-), neither (0) or absent (.);
 * the judge also abstained (?). Columns of a row: the judge . ? 0 + -
 * Actions: K keep, F flip, U undecided, D discard. */
struct row {
	char gold, best;
	const char *flips_off, *flips_on;
};

static const char judges[] = ".?0+-";

static const struct row paper[] = {
	{ '+', '+', "KKKKK", "KKKKK" }, { '+', '-', "DDDKD", "DDDKD" }, { '+', '0', "DDDKD", "DDDKD" },
	{ '+', '.', "KKDKD", "KKDKD" }, /* a silent judge is no witness: gold alone decides */
	{ '-', '+', "DDDDD", "DDDDD" }, { '-', '-', "DDDDD", "FDDDF" }, /* asked in vain: no flip */
	{ '-', '0', "DDDDD", "DDDDD" }, { '-', '.', "DDDDD", "DDDDD" }, { '0', '+', "DDDDD", "DDDDD" },
	{ '0', '-', "DDDDD", "DDDDD" }, { '0', '0', "DDDDD", "DDDDD" }, { '0', '.', "DDDDD", "DDDDD" },
};

static enum sl_side side(char letter)
{
	switch (letter) {
	case '+':
		return SL_SIDE_FOR;
	case '-':
		return SL_SIDE_AGAINST;
	case '0':
		return SL_SIDE_NEITHER;
	case '?':
		return SL_SIDE_ABSTAINED;
	default:
		return SL_SIDE_ABSENT;
	}
}

static double probability(char letter)
{
	return letter == '+' ? 0.8 : letter == '-' ? 0.3 : letter == '0' ? 0.5 : NAN;
}

static void expect(const struct sl_rule_settings *s, char gold, char best, char judge, char action)
{
	static const char letters[] = {
		[SL_ACTION_KEEP] = 'K', [SL_ACTION_FLIP] = 'F', [SL_ACTION_UNDECIDED] = 'U', [SL_ACTION_DISCARD] = 'D'
	};
	struct sl_evidence e = { .gold = side(gold),
				 .best = side(best),
				 .judge = side(judge),
				 .p_gold = probability(gold),
				 .p_best = probability(best) };
	struct sl_outcome o = sl_rule_decide(&sl_rule_paper, s, &e);

	if (letters[o.action] != action)
		fail_msg("gold %c best %c judge %c flips %d: %c (%s), expected %c", gold, best, judge, s->flips,
			 letters[o.action], o.why, action);
	if (gold == '.')
		assert_true(isnan(o.p_label));
	else
		assert_true(o.p_label == probability(gold));
}

static void test_truth_table(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < sizeof paper / sizeof paper[0]; i++)
		for (size_t j = 0; j < sizeof judges - 1; j++) {
			struct sl_rule_settings off = { .flips = false }, on = { .flips = true };

			expect(&off, paper[i].gold, paper[i].best, judges[j], paper[i].flips_off[j]);
			expect(&on, paper[i].gold, paper[i].best, judges[j], paper[i].flips_on[j]);
		}
}

static void test_without_gold(void **unused)
{
	static const char bests[] = "+-0.";

	(void)unused;
	for (size_t i = 0; i < sizeof bests - 1; i++)
		for (size_t j = 0; j < sizeof judges - 1; j++)
			for (int flips = 0; flips < 2; flips++) {
				struct sl_rule_settings s = { .flips = flips, .without_gold = SL_WITHOUT_GOLD_PASS };

				expect(&s, '.', bests[i], judges[j], 'K');
				s.without_gold = SL_WITHOUT_GOLD_LLM_ONLY;
				expect(&s, '.', bests[i], judges[j], "UUUKD"[j]);
			}
}

static void test_reasons(void **unused)
{
	static const struct {
		char gold, best, judge;
		bool flips;
		const char *why;
	} cases[] = {
		{ '+', '+', '.', false, "gold_and_best" }, { '+', '-', '+', false, "gold_and_judge" },
		{ '+', '.', '?', false, "gold_alone" },    { '+', '-', '-', false, "unconfirmed" },
		{ '-', '+', '.', true, "gold_rejects" },   { '-', '-', '.', false, "flip_suspended" },
		{ '-', '-', '-', true, "flipped" },        { '-', '-', '0', true, "flip_unconfirmed" },
		{ '-', '-', '+', true, "gold_rejects" },   { '-', '-', '+', false, "gold_rejects" },
	};

	(void)unused;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sl_rule_settings s = { .flips = cases[i].flips };
		struct sl_evidence e = { .gold = side(cases[i].gold),
					 .best = side(cases[i].best),
					 .judge = side(cases[i].judge) };

		assert_string_equal(sl_rule_decide(&sl_rule_paper, &s, &e).why, cases[i].why);
	}
}

/* A pair whose models give these probabilities. */
static void pair_with(struct sl_pair *p, struct sl_score scores[2], double p_gold, double p_best)
{
	const double ps[] = { p_gold, p_best };
	const char *names[] = { "gold", "best" };

	sl_pair_init(p);
	p->scores = scores;
	for (size_t i = 0; i < 2; i++)
		if (!isnan(ps[i]))
			scores[p->score_count++] = (struct sl_score){ .model = sl_text(names[i]),
								      .version = 1,
								      .chosen = 3 * log(ps[i] / (1 - ps[i])),
								      .rejected = 0,
								      .temperature = 3 };
}

static void test_evidence(void **unused)
{
	static const struct {
		double p_gold, p_best, band;
		enum sl_side gold, best;
	} cases[] = {
		{ 0.6, 0.6, 0, SL_SIDE_FOR, SL_SIDE_FOR },
		{ 0.6, 0.6, 0.2, SL_SIDE_FOR, SL_SIDE_NEITHER }, /* the band is best's alone */
		{ 0.6, 0.4, 0.2, SL_SIDE_FOR, SL_SIDE_AGAINST },
		{ 0.4, 0.75, 0.2, SL_SIDE_AGAINST, SL_SIDE_FOR },
		{ 0.5, 0.5, 0, SL_SIDE_NEITHER, SL_SIDE_NEITHER },
		{ NAN, NAN, 0, SL_SIDE_ABSENT, SL_SIDE_ABSENT },
		{ 0.7, NAN, 0, SL_SIDE_FOR, SL_SIDE_ABSENT },
	};
	static const struct {
		bool present, asked;
		const char *verdict;
		enum sl_side judge;
	} judged[] = {
		{ false, false, NULL, SL_SIDE_ABSENT },  { true, false, NULL, SL_SIDE_ABSENT },
		{ true, true, NULL, SL_SIDE_ABSTAINED }, { true, true, "undecidable", SL_SIDE_ABSTAINED },
		{ true, true, "chosen", SL_SIDE_FOR },   { true, true, "rejected", SL_SIDE_AGAINST },
		{ true, true, "tie", SL_SIDE_NEITHER },  { true, true, "both_bad", SL_SIDE_NEITHER },
	};
	struct sl_pair p;
	struct sl_score scores[2];

	(void)unused;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sl_rule_settings s = { .band = cases[i].band };
		struct sl_evidence e;

		pair_with(&p, scores, cases[i].p_gold, cases[i].p_best);
		e = sl_evidence_of(&s, &p);
		assert_int_equal(e.gold, cases[i].gold);
		assert_int_equal(e.best, cases[i].best);
		if (!isnan(cases[i].p_gold))
			assert_true(fabs(e.p_gold - cases[i].p_gold) < 1e-12);
	}
	pair_with(&p, scores, 0.6, 0.6);
	for (size_t i = 0; i < sizeof judged / sizeof judged[0]; i++) {
		struct sl_rule_settings s = { 0 };

		p.judgement = (struct sl_judgement){ .present = judged[i].present,
						     .asked = judged[i].asked,
						     .verdict = sl_text(judged[i].verdict) };
		assert_int_equal(sl_evidence_of(&s, &p).judge, judged[i].judge);
	}
}

/* Asked: gold for and best not; gold and best against and flips on; gold absent. */
static void test_asking(void **unused)
{
	static const char letters[] = "+-0.";

	(void)unused;
	for (size_t i = 0; i < 4; i++)
		for (size_t j = 0; j < 4; j++)
			for (int flips = 0; flips < 2; flips++) {
				struct sl_rule_settings s = { .flips = flips,
							      .without_gold = SL_WITHOUT_GOLD_LLM_ONLY };
				char gold = letters[i], best = letters[j];
				bool expected = (gold == '+' && best != '+') || gold == '.' ||
						(flips && gold == '-' && best == '-');
				struct sl_score scores[2];
				struct sl_pair p;

				pair_with(&p, scores, probability(gold), probability(best));
				if (sl_rule_asks(&sl_rule_paper, &s, &p) != expected)
					fail_msg("gold %c best %c flips %d: expected asked %d", gold, best, flips,
						 expected);
				/* An earlier answer does not change whether one is worth having. */
				p.judgement = (struct sl_judgement){ .present = true,
								     .asked = true,
								     .verdict = sl_text("rejected") };
				assert_int_equal(sl_rule_asks(&sl_rule_paper, &s, &p), expected);
			}
}

/* -- rule posterior -------------------------------------------------------------------- */

static struct sl_posterior *audited, *unaudited; /* with weights and an audit of flips; without */

static int open_posteriors(void **state)
{
	struct sl_error e = { 0 };

	make_posteriors(state);
	audited = sl_posterior_open(posterior_folders[1], (struct sl_bytes){ 0 }, &e);
	unaudited = sl_posterior_open(posterior_folders[2], (struct sl_bytes){ 0 }, &e);
	assert_non_null(audited);
	assert_non_null(unaudited);
	assert_true(sl_posterior_has_weights(audited) && sl_posterior_flip_low(audited) > 0.5);
	assert_true(sl_posterior_blind(audited, sl_text("coin")) && !sl_posterior_blind(audited, sl_text("mute")));
	assert_false(sl_posterior_has_weights(unaudited));
	return 0;
}

static int close_posteriors(void **state)
{
	sl_posterior_close(audited);
	sl_posterior_close(unaudited);
	return remove_posteriors(state);
}

static struct sl_rule_settings usual(const struct sl_posterior *p)
{
	return (struct sl_rule_settings){ .keep = 0.8,
					  .flip = 0.15,
					  .label_noise = 0.2,
					  .without_gold = SL_WITHOUT_GOLD_LLM_ONLY,
					  .judge = sl_text("nearest"),
					  .posterior = p };
}

/* Witnesses as in the first table; K (known) the judge's accuracy is, U not; P of the posterior. */
static void test_posterior(void **unused)
{
	static const struct {
		double p;
		char gold, best, judge, known;
		const char *domain;
		bool flips, audited;
		double keep;
		const char *why;
	} cases[] = {
		{ 0.9, '+', '+', '.', 'K', "clear", false, true, 0.8, "likely_right" },
		{ 0.8, '-', '-', '-', 'K', "clear", true, true, 0.8, "likely_right" }, /* P decides, not votes */
		{ 0.79, '+', '+', '.', 'K', "clear", false, true, 0.8, "unsure" },
		{ 0.79, '+', '+', '.', 'K', "clear", false, true, 0.75, "likely_right" },
		{ 0.21, '-', '-', '.', 'K', "clear", true, true, 0.8, "unsure" },
		{ 0.19, '-', '-', '.', 'K', "clear", true, true, 0.8, "likely_wrong" },
		{ 0.16, '-', '-', '-', 'K', "clear", true, true, 0.8, "likely_wrong" },
		{ 0.12, '-', '-', '.', 'K', "clear", true, true, 0.9, "unsure" }, /* keep bounds flips too */
		{ 0.95, '+', '+', '+', 'K', "coin", false, true, 0.8, "no_evidence" },
		{ 0.01, '-', '-', '-', 'K', "coin", true, true, 0.8, "no_evidence" },
		{ NAN, '+', '.', '.', 'K', "clear", true, true, 0.8, "no_evidence" },
		/* flips: two against, nobody asked who does not join, an audit */
		{ 0.1, '-', '-', '.', 'K', "clear", true, true, 0.8, "flipped" },
		{ 0.1, '-', '-', '-', 'K', "clear", true, true, 0.8, "flipped" },
		{ 0.1, '-', '+', '-', 'K', "clear", true, true, 0.8, "flipped" },
		{ 0.1, '-', '.', '-', 'K', "clear", true, true, 0.8, "flipped" },
		{ 0.1, '-', '-', '.', 'K', "clear", false, true, 0.8, "flip_suspended" },
		{ 0.1, '-', '-', '.', 'K', "clear", true, false, 0.8, "flip_suspended" },
		{ 0.1, '-', '.', '.', 'K', "clear", true, true, 0.8, "flip_suspended" },
		{ 0.1, '-', '0', '.', 'K', "clear", true, true, 0.8, "flip_suspended" },
		{ 0.1, '0', '-', '-', 'K', "clear", true, true, 0.8, "flip_suspended" },
		{ 0.1, '+', '-', '-', 'K', "clear", true, true, 0.8, "flip_suspended" },
		{ 0.1, '-', '-', '+', 'K', "clear", true, true, 0.8, "flip_suspended" },
		{ 0.1, '-', '-', '0', 'K', "clear", true, true, 0.8, "flip_suspended" }, /* a tie */
		{ 0.1, '-', '-', '?', 'K', "clear", true, true, 0.8, "flip_suspended" }, /* undecidable */
		/* a judge who is a coin, or whom nobody knows, was not there */
		{ 0.1, '-', '-', '?', 'U', "clear", true, true, 0.8, "flipped" },
		{ 0.1, '-', '-', '+', 'U', "clear", true, true, 0.8, "flipped" },
		{ 0.1, '-', '.', '-', 'U', "clear", true, true, 0.8, "flip_suspended" },
		/* no gold model: as in rule paper */
		{ 0.9, '.', '+', '.', 'K', "clear", false, true, 0.8, "no_evidence" },
		{ 0.1, '.', '+', '+', 'K', "clear", false, true, 0.8, "judge_alone" },
		{ 0.9, '.', '+', '-', 'K', "clear", false, true, 0.8, "judge_rejects" },
	};

	(void)unused;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sl_rule_settings s = usual(cases[i].audited ? audited : unaudited);
		struct sl_evidence e = { .gold = side(cases[i].gold),
					 .best = side(cases[i].best),
					 .judge = side(cases[i].judge),
					 .judge_log_odds = cases[i].known == 'K' ? 1 : NAN,
					 .witnesses = { .domain = sl_text(cases[i].domain) } };
		struct sl_outcome o;

		s.flips = cases[i].flips;
		s.keep = cases[i].keep;
		o = sl_rule_posterior.decide(&s, &e, cases[i].p);
		if (strcmp(o.why, cases[i].why) != 0)
			fail_msg("case %zu: %s, expected %s", i, o.why, cases[i].why);
		assert_true(o.p_label == cases[i].p || isnan(o.p_label));
	}
}

/* A pair of the domain, with margins over the temperature. */
static void pair_in(struct sl_pair *p, struct sl_score scores[2], const char *domain, double gold, double best)
{
	pair_with(p, scores, isnan(gold) ? NAN : sl_sigmoid(gold), isnan(best) ? NAN : sl_sigmoid(best));
	p->domain = sl_text(domain);
}

/* The verdict of the witness that `s` names, and how sure he himself is of it: which must not matter. */
static struct sl_outcome decide_sure(const struct sl_rule *rule, const struct sl_rule_settings *s, struct sl_pair *p,
				     const char *verdict, double confidence)
{
	struct sl_vote vote = { .judge = sl_text("one of them"), .confidence = confidence };
	struct sl_evidence e;

	p->judgement = (struct sl_judgement){ 0 };
	if (strcmp(verdict, "not asked") != 0)
		p->judgement = (struct sl_judgement){
			.present = true,
			.asked = true,
			.verdict = sl_text(verdict),
			.votes = &vote,
			.vote_count = 1,
			.panel = s->judge,
		};
	e = sl_evidence_of(s, p);
	p->judgement = (struct sl_judgement){ 0 };
	return sl_rule_decide(rule, s, &e);
}

static struct sl_outcome decide(const struct sl_rule *rule, const struct sl_rule_settings *s, struct sl_pair *p,
				const char *verdict)
{
	return decide_sure(rule, s, p, verdict, NAN);
}

/* Where P comes from, and that every outcome has it, whatever the rule. */
static void test_p_label(void **unused)
{
	static const double none = NAN;
	struct sl_rule_settings with = usual(audited), without = usual(NULL), few = usual(unaudited);
	struct sl_score scores[2];
	struct sl_pair p;
	double silent, yes, no;

	(void)unused;
	pair_in(&p, scores, "clear", 0.5, none);
	silent = decide(&sl_rule_posterior, &with, &p, "not asked").p_label;
	yes = decide(&sl_rule_posterior, &with, &p, "chosen").p_label;
	no = decide(&sl_rule_posterior, &with, &p, "rejected").p_label;
	assert_true(no < silent && silent < yes);
	assert_true(decide(&sl_rule_paper, &with, &p, "chosen").p_label == yes);
	assert_true(decide(&sl_rule_pass, &with, &p, "rejected").p_label == no);
	/* the judge is a coin in this domain: whatever he says, nothing changes */
	pair_in(&p, scores, "mute", 0.5, none);
	assert_true(decide(&sl_rule_posterior, &with, &p, "chosen").p_label ==
		    decide(&sl_rule_posterior, &with, &p, "rejected").p_label);
	/* no audited labels: the margin and the declared noise, plus a judge who is known from gold */
	pair_in(&p, scores, "clear", 0.5, none);
	assert_true(fabs(decide(&sl_rule_posterior, &without, &p, "chosen").p_label - sl_sigmoid(0.5 + log(4))) <
		    1e-12);
	assert_true(fabs(decide(&sl_rule_posterior, &few, &p, "not asked").p_label - sl_sigmoid(0.5 + log(4))) < 1e-12);
	assert_true(decide(&sl_rule_posterior, &few, &p, "rejected").p_label < 0.6);
	without.label_noise = 0.5;
	assert_true(fabs(decide(&sl_rule_posterior, &without, &p, "not asked").p_label - sl_sigmoid(0.5)) < 1e-12);
	/* nothing announced: rule paper says what gold says */
	assert_true(fabs(decide(&sl_rule_paper, &without, &p, "chosen").p_label - sl_sigmoid(0.5)) < 1e-12);
}

static double logit(double p)
{
	return log(p / (1 - p));
}

/* A panel of LLMs counts from the first pair on; `nearest` when he is known; a panel that is known as what it is. */
static void test_panel(void **unused)
{
	struct sl_rule_settings s = usual(audited), few = usual(unaudited), none = usual(NULL);
	const struct sl_rule_settings *const all[] = { &s, &few, &none };
	struct sl_score scores[2];
	struct sl_pair p;

	(void)unused;
	pair_in(&p, scores, "mute", 0.5, NAN); /* where `nearest` is known to be a coin */
	for (size_t i = 0; i < 3; i++) {
		struct sl_rule_settings panel = *all[i], modest = *all[i], stranger = *all[i];
		double silent, yes, no, tie, lost;

		panel.judge = stranger.judge = sl_text("llm");
		panel.judge_accuracy = 0.8;
		silent = decide(&sl_rule_posterior, &panel, &p, "not asked").p_label;
		yes = decide(&sl_rule_posterior, &panel, &p, "chosen").p_label;
		no = decide(&sl_rule_posterior, &panel, &p, "rejected").p_label;
		tie = decide(&sl_rule_posterior, &panel, &p, "tie").p_label;
		lost = decide(&sl_rule_posterior, &panel, &p, "undecidable").p_label;
		assert_true(fabs(logit(yes) - logit(silent) - log(4)) < 1e-9);
		assert_true(fabs(logit(silent) - logit(no) - log(4)) < 1e-9);
		assert_true(fabs(tie - silent) < 1e-12 && fabs(lost - silent) < 1e-12);
		modest.judge_accuracy = 0.8; /* is for panels */
		assert_true(decide(&sl_rule_posterior, &modest, &p, "chosen").p_label ==
			    decide(&sl_rule_posterior, &modest, &p, "rejected").p_label);
		stranger.judge_accuracy = 0.5;
		assert_true(fabs(decide(&sl_rule_posterior, &stranger, &p, "chosen").p_label - silent) < 1e-12);
	}
	/* the record says who was asked, whoever would be asked now */
	pair_in(&p, scores, "clear", 0.5, NAN);
	s.judge = sl_text("llm");
	s.judge_accuracy = 0.99;
	p.judgement = (struct sl_judgement){
		.present = true, .asked = true, .verdict = sl_text("chosen"), .panel = sl_text("nearest")
	};
	assert_false(sl_evidence_of(&s, &p).judge_declared);
	assert_true(fabs(sl_evidence_of(&s, &p).judge_log_odds - logit(0.85)) < 0.3);
	p.judgement.panel = sl_text("another panel");
	assert_true(sl_evidence_of(&s, &p).judge_declared);
	assert_true(fabs(sl_evidence_of(&s, &p).judge_log_odds - logit(0.99)) < 1e-12);
	p.judgement.asked = false;
	assert_true(sl_evidence_of(&s, &p).judge_declared);
}

/* Asked iff a yes or a no leads to another action than silence; and where it was not asked, no answer, of whatever
 * kind, would have changed anything. */
static void test_asks_iff_it_matters(void **unused)
{
	static const char *const domains[] = { "clear", "mute", "coin", "unheard of" };
	static const char *const answers[] = { "chosen", "rejected", "tie", "both_bad", "undecidable" };
	static const struct sl_rule *const rules[] = { &sl_rule_posterior, &sl_rule_paper, &sl_rule_pass };
	static const char *const judges_[] = { "nearest", "llm" };
	static const double sure[] = { NAN, 0.5, 0.7, 1 };
	const struct sl_posterior *const posteriors[] = { audited, unaudited, NULL };
	size_t asked = 0, unasked = 0;

	(void)unused;
	for (size_t i = 0; i < 2 * 3 * 4 * 2 * 3 * 18 * 5; i++) {
		size_t at = i, domain = at % 4, flips = at / 4 % 2, keep = at / 8 % 3, gold = at / 24 % 18;
		size_t best = at / 432 % 5, which = at / 2160 % 3, who = at / 6480;

		for (size_t r = 0; r < 3; r++) {
			struct sl_rule_settings s = usual(posteriors[which]);
			struct sl_score scores[2];
			struct sl_pair p;
			enum sl_action without;
			bool asks, matters;

			s.flips = flips;
			s.keep = 0.75 + 0.1 * (double)keep;
			s.judge = sl_text(judges_[who]);
			s.judge_accuracy = 0.6 + 0.15 * (double)(i % 3);
			pair_in(&p, scores, domains[domain], gold == 17 ? NAN : -4 + 0.5 * (double)gold,
				best == 4 ? NAN : -3 + 2 * (double)best);
			asks = sl_rule_asks(rules[r], &s, &p);
			without = decide(rules[r], &s, &p, "not asked").action;
			matters = decide(rules[r], &s, &p, "chosen").action != without ||
				  decide(rules[r], &s, &p, "rejected").action != without;
			assert_int_equal(asks, matters);
			for (size_t k = 0; !asks && k < sizeof answers / sizeof answers[0]; k++)
				if (decide_sure(rules[r], &s, &p, answers[k], sure[i % 4]).action != without)
					fail_msg(
						"%s, %s, gold %zu, best %zu, flips %zu: not asked, but '%s' changes it",
						rules[r]->name, domains[domain], gold, best, flips, answers[k]);
			if (asks && rules[r] == &sl_rule_posterior && posteriors[which] && gold != 17 && who == 0)
				assert_string_equal(domains[domain], "clear"); /* only there he is worth asking */
			asked += asks;
			unasked += !asks;
		}
	}
	assert_true(asked > 500 && unasked > 500);
}

/* -- per_source ------------------------------------------------------------------------------ */

static void test_ways(void **unused)
{
	static const struct {
		const char *text;
		const char *source, *rule;
		double keep, flip, noise, band;
		bool flips;
	} good[] = {
		{ "forum keep=0.9", "forum", "posterior", 0.9, 0.15, 0.2, 0, true },
		{ "  forum   rule=paper  band=0.1 ", "forum", "paper", 0.8, 0.15, 0.2, 0.1, true },
		{ "\"a forum\" flips=off label_noise=0.05 flip=0", "a forum", "posterior", 0.8, 0, 0.05, 0, false },
		{ "forum pass", "forum", "pass", 0.8, 0.15, 0.2, 0, true },
		{ "pass pass", "pass", "pass", 0.8, 0.15, 0.2, 0, true },
		{ "a=b keep=1e0", "a=b", "posterior", 1, 0.15, 0.2, 0, true },
	};
	static const struct {
		const char *text, *error;
	} bad[] = {
		{ "", "must begin with the name of a source" },
		{ "\"\" pass", "must begin with the name of a source" },
		{ "\"a forum pass", "must end with '\"' and a space" },
		{ "\"a\"b pass", "must end with '\"' and a space" },
		{ "forum", "says nothing: add rule=" },
		{ "forum kep=0.9", "'kep=0.9' is not known: rule=" },
		{ "forum keep", "'keep' is not known" },
		{ "forum keep=0.9 pass", "'pass' is not known" },
		{ "forum pass keep=0.9", "'keep=0.9' behind pass, which stands alone" },
		{ "forum keep=0.9 keep=0.8", "'keep' stands twice" },
		{ "forum keep=", "'keep': '' is not a number from 0.5 to 1" },
		{ "forum keep=0.9x", "'keep': '0.9x' is not a number" },
		{ "forum keep=nan", "'keep': 'nan' is not a number" },
		{ "forum keep=0.4", "'keep': '0.4' is not a number from 0.5 to 1" },
		{ "forum keep=0.8000000000000000000000000000000000001", "is not a number" },
		{ "forum label_noise=0", "'label_noise': '0' is not a number from 0.001 to 0.5" },
		{ "forum flip=0.6", "'flip': '0.6' is not a number from 0 to 0.5" },
		{ "forum rule=pass", "'rule': 'pass' is not one of: posterior, paper" },
		{ "forum flips=yes", "'flips': 'yes' is not one of: off, on" },
	};
	struct sl_way normal = { .rule = &sl_rule_posterior, .settings = usual(NULL) }, way;
	struct sl_error e = { 0 };

	(void)unused;
	normal.settings.flips = true;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		if (!sl_way_parse(good[i].text, &normal, &way, &e))
			fail_msg("%s: %s", good[i].text, e.text);
		assert_true(sl_is(way.source, good[i].source));
		assert_string_equal(way.rule->name, good[i].rule);
		assert_true(way.settings.keep == good[i].keep && way.settings.flip == good[i].flip);
		assert_true(way.settings.label_noise == good[i].noise && way.settings.band == good[i].band);
		assert_int_equal(way.settings.flips, good[i].flips);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		if (sl_way_parse(bad[i].text, &normal, &way, &e))
			fail_msg("'%s' was taken", bad[i].text);
		if (!strstr(e.text, bad[i].error))
			fail_msg("'%s': %s", bad[i].text, e.text);
	}
}

static void test_reverse(void **unused)
{
	struct sl_message chosen = { sl_text("assistant"), sl_text("good"), { 0 } };
	struct sl_message rejected = { sl_text("assistant"), sl_text("bad"), { 0 } };
	struct sl_score score = { sl_text("gold"), 3, 1.5, -0.25, 2 };
	struct sl_vote votes[] = {
		{ .verdict = sl_text("rejected"), .order = sl_text("chosen") },
		{ .verdict = sl_text("tie"), .order = sl_text("rejected") },
	};
	struct sl_arena a = { 0 };
	struct sl_pair p, r, again;
	struct sl_rule_settings s = { 0 };

	(void)unused;
	sl_pair_init(&p);
	p.id = sl_hash128("x", 1);
	p.chosen = (struct sl_messages){ &chosen, 1 };
	p.rejected = (struct sl_messages){ &rejected, 1 };
	p.margin = 2.5;
	p.scores = &score;
	p.score_count = 1;
	p.judgement = (struct sl_judgement){
		.present = true, .asked = true, .verdict = sl_text("rejected"), .votes = votes, .vote_count = 2
	};
	sl_pair_reverse(&p, &r, &a);

	assert_true(sl_id_equal(r.id, p.id));
	assert_ptr_equal(r.chosen.at, &rejected);
	assert_ptr_equal(r.rejected.at, &chosen);
	assert_true(r.label_flipped);
	assert_true(r.margin == -2.5);
	assert_true(r.scores[0].chosen == -0.25 && r.scores[0].rejected == 1.5);
	assert_true(score.chosen == 1.5); /* borrowed memory is not written */
	assert_true(sl_is(r.judgement.verdict, "chosen"));
	assert_true(sl_is(r.judgement.votes[0].verdict, "chosen"));
	assert_true(sl_is(r.judgement.votes[0].order, "rejected"));
	assert_true(sl_is(r.judgement.votes[1].verdict, "tie"));
	assert_true(sl_is(r.judgement.votes[1].order, "chosen"));
	/* The evidence turns with it. */
	assert_int_equal(sl_evidence_of(&s, &p).gold, SL_SIDE_FOR);
	assert_int_equal(sl_evidence_of(&s, &r).gold, SL_SIDE_AGAINST);
	assert_int_equal(sl_evidence_of(&s, &r).judge, SL_SIDE_FOR);

	sl_pair_reverse(&r, &again, &a);
	assert_ptr_equal(again.chosen.at, &chosen);
	assert_false(again.label_flipped);
	assert_true(again.margin == 2.5);
	assert_true(again.scores[0].chosen == 1.5);
	assert_true(sl_is(again.judgement.verdict, "rejected"));
	sl_pair_reverse(&r, &r, &a); /* in place */
	assert_ptr_equal(r.chosen.at, &chosen);
	assert_ptr_equal(r.rejected.at, &rejected);
	sl_arena_release(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_truth_table),
		cmocka_unit_test(test_without_gold),
		cmocka_unit_test(test_reasons),
		cmocka_unit_test(test_evidence),
		cmocka_unit_test(test_asking),
		cmocka_unit_test(test_posterior),
		cmocka_unit_test(test_p_label),
		cmocka_unit_test(test_panel),
		cmocka_unit_test(test_asks_iff_it_matters),
		cmocka_unit_test(test_ways),
		cmocka_unit_test(test_reverse),
	};

	return cmocka_run_group_tests(tests, open_posteriors, close_posteriors);
}
