/* budget.c -- prices, purses and shares, behind budget.h. */
#include "budget.h"

#include <math.h>

#define MOST INT64_C(1000000000000000) /* a billion dollars: nothing of ours costs more */
#define WRAPPING_TOKENS 256            /* what chat templates put around the messages of a call */

static int64_t whole(double micro_dollars)
{
	double n = ceil(micro_dollars);

	return !(n > 0) ? 0 : n < (double)MOST ? (int64_t)n : MOST;
}

int64_t sl_price_cost(const struct sl_price *price, const struct sl_usage *usage)
{
	if (!price)
		return 0;
	return whole((double)(usage->prompt - usage->cached) * price->prompt + (double)usage->cached * price->cached +
		     (double)usage->completion * price->completion);
}

int64_t sl_price_most(const struct sl_price *price, size_t body_bytes, int64_t tokens_max)
{
	double prompt;

	if (!price)
		return 0;
	prompt = price->prompt > price->cached ? price->prompt : price->cached;
	return whole((double)(body_bytes + WRAPPING_TOKENS) * prompt + (double)tokens_max * price->completion);
}

int64_t sl_price_part(int64_t amount, double part)
{
	return (int64_t)ceil((double)amount * part);
}

void sl_purse_day(struct sl_purse *p, int64_t day)
{
	if (day <= p->day)
		return;
	p->day = day;
	p->spent_day = 0;
}

bool sl_purse_fits(const struct sl_purse *p, int64_t amount)
{
	return (p->share < 0 || p->spent + p->held + amount <= p->share) &&
	       (p->share_day < 0 || p->spent_day + p->held + amount <= p->share_day);
}

bool sl_purse_could(const struct sl_purse *p, int64_t amount)
{
	return (p->share < 0 || p->spent + amount <= p->share) &&
	       (p->share_day < 0 || p->spent_day + amount <= p->share_day);
}

void sl_purse_hold(struct sl_purse *p, int64_t amount)
{
	p->held += amount;
}

void sl_purse_settle(struct sl_purse *p, int64_t held, int64_t cost)
{
	p->held -= held;
	p->spent += cost;
	p->spent_day += cost;
}

static void dollars(struct sl_buf *to, int64_t micro_dollars)
{
	sl_buf_print(to, "$%.6g", (double)micro_dollars / 1e6);
}

void sl_purse_say(const struct sl_purse *p, const char *what, int64_t amount, struct sl_buf *to)
{
	bool today = p->share < 0 || p->spent + p->held + amount <= p->share;
	int64_t share = today ? p->share_day : p->share;

	sl_buf_print(to, "budget of %s%s is spent: ", what, today ? " for today" : "");
	dollars(to, today ? p->spent_day : p->spent);
	sl_buf_print(to, " of ");
	dollars(to, share);
	sl_buf_print(to, ", ");
	dollars(to, p->held);
	sl_buf_print(to, " reserved; the next call may cost ");
	dollars(to, amount);
	if (amount > share)
		sl_buf_print(to, ", more than this task's whole share");
}

/* -- shares ------------------------------------------------------------------------------- */

/* "ENDPOINT", or something of it: "ENDPOINT/MODEL". */
static bool is_of(const char *text, const char *endpoint)
{
	size_t size = strlen(endpoint);

	return text && strncmp(text, endpoint, size) == 0 && (text[size] == 0 || text[size] == '/');
}

static bool names(const struct sl_step *s, const struct sl_option *o, const char *endpoint)
{
	const void *field = (const char *)s->self_image + o->offset;
	const struct sl_list *list = field;

	if (o->type != SL_OPTION_LIST)
		return is_of(*(const char *const *)field, endpoint);
	for (size_t i = 0; i < list->count; i++)
		if (is_of(list->at[i], endpoint))
			return true;
	return false;
}

bool sl_budget_may_ask(const struct sl_step *s, const char *endpoint)
{
	bool says = false;

	if (!s->op->ask)
		return false;
	for (const struct sl_option *o = s->op->options; o && o->name; o++) {
		if (!o->endpoint)
			continue;
		if (names(s, o, endpoint))
			return true;
		says = true;
	}
	return !says;
}

int64_t sl_budget_tasks(const struct sl_topology *t, size_t endpoint)
{
	int64_t tasks = 0;

	for (size_t i = 0; i < t->step_count; i++)
		if (sl_budget_may_ask(&t->steps[i], t->endpoints[endpoint].name))
			tasks += t->topics[t->steps[i].from].partitions;
	return tasks ? tasks : 1;
}

int64_t sl_budget_share(double budget, int64_t tasks)
{
	double micro = budget * 1e6;

	if (budget < 0)
		return -1;
	return (micro < (double)MOST ? (int64_t)llround(micro) : MOST) / tasks;
}

struct sl_share sl_limit_share(struct sl_limit limit, int64_t tasks)
{
	return (struct sl_share){ sl_budget_share(limit.all, tasks), sl_budget_share(limit.per_day, tasks) };
}
