/* calls.c -- numbering, the memo and the crossing between threads, behind calls.h. */
#include "calls.h"

#include "base/thread.h"

#include <assert.h>
#include <stdlib.h>

enum state { NEW, IN_FLIGHT, ARRIVED, SETTLED };

struct call {
	struct sl_outcall out;
	struct sl_calls *calls;
	enum state state; /* IN_FLIGHT to ARRIVED by done(), under the lock */
	int status;
	struct sl_buf body, question;
	char *model, *why;
	bool wanted; /* numbered in this batch */
	uint32_t number;
};

struct sl_calls {
	struct sl_store *store;
	struct sl_buf memo;
	bool (*keep)(void *arg, struct sl_writes *answers, struct sl_error *e);
	void (*wake)(void *arg);
	void *arg;
	pthread_mutex_t lock;
	size_t waking; /* done() that have not returned from wake yet */
	/* All that are not forgotten. The list and the states are changed by the task's thread under the lock,
	 * so that others may count (sl_calls_in_flight); it reads the list itself without. */
	struct call **calls;
	size_t count, capacity;
	struct call **numbers; /* of this batch */
	size_t asked, numbers_capacity;
};

struct sl_calls *sl_calls_new(struct sl_store *store, struct sl_bytes memo,
			      bool (*keep)(void *arg, struct sl_writes *answers, struct sl_error *e),
			      void (*wake)(void *arg), void *arg)
{
	struct sl_calls *c = sl_calloc(1, sizeof *c);

	c->store = store;
	c->keep = keep;
	c->wake = wake;
	c->arg = arg;
	sl_buf_add_bytes(&c->memo, memo);
	sl_mutex_init(&c->lock);
	return c;
}

static void call_free(struct call *call)
{
	sl_buf_release(&call->body);
	sl_buf_release(&call->question);
	free(call->model);
	free(call->why);
	free(call);
}

void sl_calls_free(struct sl_calls *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->count; i++) {
		assert(c->calls[i]->state != IN_FLIGHT);
		call_free(c->calls[i]);
	}
	free(c->calls);
	free(c->numbers);
	sl_buf_release(&c->memo);
	sl_mutex_destroy(&c->lock);
	free(c);
}

/* hash of length-prefixed model and body, and the sample number (DESIGN section 5) */
static struct sl_id key_of(const struct sl_call *call)
{
	struct sl_buf b = { 0 };
	size_t model_size = call->model ? strlen(call->model) : 0;
	uint8_t n[8];
	struct sl_id key;

	sl_put_le64(n, model_size);
	sl_buf_add(&b, n, 8);
	sl_buf_add(&b, call->model, model_size);
	sl_put_le64(n, call->body.size);
	sl_buf_add(&b, n, 8);
	sl_buf_add_bytes(&b, call->body);
	sl_put_le64(n, call->sample);
	sl_buf_add(&b, n, 8);
	key = sl_hash128(b.data, b.size);
	sl_buf_release(&b);
	return key;
}

static void memo_key(const struct sl_calls *c, const struct sl_id *key, struct sl_buf *to)
{
	sl_buf_clear(to);
	sl_buf_add(to, c->memo.data, c->memo.size);
	sl_buf_add(to, key->b, sizeof key->b);
}

static void on_done(struct sl_outcall *out, const struct sl_settlement *reply)
{
	struct call *call = (struct call *)out;
	struct sl_calls *c = call->calls;

	assert(reply->status != SL_UNSETTLED);
	sl_lock(&c->lock);
	assert(call->state == IN_FLIGHT);
	call->status = reply->status;
	sl_buf_add_bytes(&call->body, reply->body);
	call->why = reply->why ? sl_strdup(reply->why) : NULL;
	call->state = ARRIVED;
	c->waking++;
	sl_unlock(&c->lock);
	c->wake(c->arg);
	sl_lock(&c->lock); /* until here it counts as in flight, so that nobody frees what wake needs */
	c->waking--;
	sl_unlock(&c->lock);
}

static void set_state(struct sl_calls *c, struct call *call, enum state state)
{
	sl_lock(&c->lock);
	call->state = state;
	sl_unlock(&c->lock);
}

static bool from_memo(struct sl_calls *c, struct call *call, struct sl_error *e)
{
	struct sl_buf key = { 0 };
	bool found, done;

	memo_key(c, &call->out.key, &key);
	done = c->store->ops->get(c->store, sl_buf_bytes(&key), &call->body, &found, e);
	sl_buf_release(&key);
	if (done && found) {
		call->status = 200;
		set_state(c, call, SETTLED);
	}
	return done;
}

static void remember(struct sl_calls *c, struct call *call)
{
	if (c->asked == c->numbers_capacity) {
		c->numbers_capacity = c->numbers_capacity ? 2 * c->numbers_capacity : 64;
		c->numbers = sl_realloc(c->numbers, c->numbers_capacity * sizeof(struct call *));
	}
	call->wanted = true;
	call->number = (uint32_t)c->asked;
	c->numbers[c->asked++] = call;
}

static enum state state_of(struct sl_calls *c, const struct call *call)
{
	enum state state;

	sl_lock(&c->lock);
	state = call->state;
	sl_unlock(&c->lock);
	return state;
}

bool sl_calls_ask(struct sl_calls *c, struct sl_endpoint *endpoint, const struct sl_call *call, uint32_t *number,
		  struct sl_error *e)
{
	struct sl_id key = key_of(call);
	struct call *found = NULL;

	for (size_t i = 0; i < c->count && !found; i++)
		if (sl_id_equal(c->calls[i]->out.key, key))
			found = c->calls[i];
	if (!found) {
		found = sl_calloc(1, sizeof *found);
		found->calls = c;
		found->out.key = key;
		found->out.sample = call->sample;
		found->out.done = on_done;
		found->out.owner = c;
		found->model = sl_strdup(call->model ? call->model : "");
		found->out.path = call->path ? call->path : "/chat/completions";
		found->out.tokens_max = call->tokens_max;
		found->out.or_not = call->or_not;
		found->out.model = found->model;
		sl_buf_add_bytes(&found->question, call->body);
		found->out.body = sl_buf_bytes(&found->question);
		sl_lock(&c->lock);
		if (c->count == c->capacity) {
			c->capacity = c->capacity ? 2 * c->capacity : 64;
			c->calls = sl_realloc(c->calls, c->capacity * sizeof(struct call *));
		}
		c->calls[c->count++] = found;
		sl_unlock(&c->lock);
		if (!from_memo(c, found, e))
			return false;
	}
	if (!found->wanted)
		remember(c, found);
	*number = found->number;
	if (state_of(c, found) != NEW)
		return true;
	if (!endpoint) { /* only ask() may send */
		found->status = -1;
		found->why = sl_strdup("never asked");
		set_state(c, found, SETTLED);
		return true;
	}
	set_state(c, found, IN_FLIGHT); /* before send: the answer may come at once */
	endpoint->ops->send(endpoint, &found->out);
	return true;
}

struct sl_answer sl_calls_answer(struct sl_calls *c, uint32_t number)
{
	const struct call *call;

	assert(number < c->asked);
	call = c->numbers[number];
	if (state_of(c, call) != SETTLED)
		return (struct sl_answer){ .status = 0 };
	return (struct sl_answer){ .status = call->status,
				   .why = call->why ? call->why : "",
				   .body = sl_buf_bytes(&call->body) };
}

bool sl_calls_settle(struct sl_calls *c, size_t *open, struct sl_error *e)
{
	struct sl_writes memo = { 0 };
	struct sl_buf key = { 0 };
	struct call **arrived = sl_malloc((c->count + 1) * sizeof(struct call *));
	size_t n = 0;
	bool done = true;

	*open = 0;
	sl_lock(&c->lock);
	for (size_t i = 0; i < c->count; i++) {
		if (c->calls[i]->state == ARRIVED)
			arrived[n++] = c->calls[i];
		else if (c->calls[i]->state == IN_FLIGHT && c->calls[i]->wanted)
			(*open)++;
	}
	sl_unlock(&c->lock);
	for (size_t i = 0; i < n; i++) {
		if (arrived[i]->status != 200)
			continue;
		memo_key(c, &arrived[i]->out.key, &key);
		sl_writes_put(&memo, sl_buf_bytes(&key), sl_buf_bytes(&arrived[i]->body));
	}
	if (memo.count)
		done = c->keep(c->arg, &memo, e);
	for (size_t i = 0; done && i < n; i++)
		set_state(c, arrived[i], SETTLED);
	sl_writes_release(&memo);
	sl_buf_release(&key);
	free(arrived);
	return done;
}

size_t sl_calls_asked(const struct sl_calls *c)
{
	return c->asked;
}

size_t sl_calls_in_flight(struct sl_calls *c)
{
	size_t n;

	sl_lock(&c->lock);
	n = c->waking;
	for (size_t i = 0; i < c->count; i++)
		n += c->calls[i]->state == IN_FLIGHT;
	sl_unlock(&c->lock);
	return n;
}

void sl_calls_batch_end(struct sl_calls *c, bool again)
{
	size_t kept = 0;

	for (size_t i = 0; i < c->asked; i++)
		c->numbers[i]->wanted = false;
	c->asked = 0;
	sl_lock(&c->lock);
	for (size_t i = 0; i < c->count; i++) {
		struct call *call = c->calls[i];
		bool answered = call->state == SETTLED && call->status == 200;

		/* What failed, or could not be looked up, is asked anew by the next batch or replay; what is on
		 * its way stays. */
		if (call->state == IN_FLIGHT || call->state == ARRIVED || (again && answered))
			c->calls[kept++] = call;
		else
			call_free(call);
	}
	c->count = kept;
	sl_unlock(&c->lock);
}
