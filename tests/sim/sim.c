/* sim.c -- thousands of short lives of whole topologies.
 *
 * One number makes one case: a world (worlds.h), an input, a batch size, an order of steps and commits, and
 * up to three deaths at seeded operations, by kill or by power cut, also in the middle of a recovery. In the
 * end every topic and every store must be those of the plain run, and the topics what the oracle makes of the
 * input. A few hundred cases also run on real files and RocksDB, in child processes that really end.
 *
 *     sim [--cases N] [--real N] [--from N]      cases from, from + 1, ... (20 times as many with SL_LONG=1)
 *     sim --seed N [--on-files]                  that one case, telling what happens
 *     sim --broken-order ...                     the store is written before the logs are synced: must fail
 */
#include "worlds.h"

#include "topology/base/file.h"
#include "topology/base/log.h"
#include "topology/base/thread.h"

#include <assert.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define INPUTS 8
#define BATCHES 5
#define DEATHS_MOST 3

static const int batches[BATCHES] = { 1, 2, 3, 7, 256 };

/* A world with one input: the plain run, made when first wanted. */
struct ground {
	struct sl_fed fed;
	struct sl_buf digest;
	int64_t operations, faults;
	bool made;
};

struct sim {
	struct sl_topology *topologies[16][BATCHES];
	struct ground grounds[16][INPUTS];
	uint64_t cases, crashes, real, wrong;
	bool tell, broken_order;
};

static void die(const char *what, const char *why)
{
	fprintf(stderr, "sim: %s: %s\n", what, why);
	exit(2);
}

static struct sl_topology *topology(struct sim *sim, size_t world, size_t batch)
{
	struct sl_topology **t = &sim->topologies[world][batch];
	const char *yaml = sl_worlds[world].yaml;
	struct sl_error e = { 0 };
	char texts[16][100];
	const char *sets[16];
	struct sl_topology *plain;

	if (*t)
		return *t;
	plain = sl_topology_parse("sim.yaml", sl_text(yaml), NULL, 0, &e);
	if (!plain)
		die(sl_worlds[world].name, e.text);
	assert(plain->step_count <= 16);
	for (size_t i = 0; i < plain->step_count; i++) {
		snprintf(texts[i], sizeof texts[i], "%s.batch_max=%d", plain->steps[i].name, batches[batch]);
		sets[i] = texts[i];
	}
	*t = sl_topology_parse("sim.yaml", sl_text(yaml), sets, plain->step_count, &e);
	if (!*t)
		die(sl_worlds[world].name, e.text);
	sl_topology_free(plain);
	return *t;
}

/* -- the plain run ----------------------------------------------------------------------------- */

static struct ground *ground(struct sim *sim, size_t world, size_t input)
{
	const struct sl_world *w = &sl_worlds[world];
	struct ground *g = &sim->grounds[world][input];
	struct sl_trial_case c = sl_world_case(w, &g->fed);
	struct sl_buf why = { 0 };
	struct sl_trial *t;

	if (g->made)
		return g;
	g->made = true;
	w->make(&g->fed, input * 1000 + 17);
	g->fed.oracle = sl_oracle_new();
	t = sl_trial_case_new(&c, topology(sim, world, BATCHES - 1));
	t->fault_at = INT64_MAX; /* count them */
	if (sl_trial_finish(t, 0) != SL_TRIAL_IDLE)
		die(w->name, t->error.text);
	if (!w->right(t, &g->fed, &why))
		die(w->name, sl_buf_text(&why));
	if (sl_oracle_paid_twice(g->fed.oracle) && !w->forgets)
		die(w->name, "the plain run asks what was answered");
	sl_trial_digest(t, &g->digest);
	g->operations = t->twins->operations;
	g->faults = t->faults;
	sl_trial_free(t);
	sl_oracle_free(g->fed.oracle);
	g->fed.oracle = NULL;
	return g;
}

/* -- one case ------------------------------------------------------------------------------------ */

/* What a number stands for. */
struct life {
	size_t world, input, batch;
	uint64_t schedule;
	int deaths;
	int64_t at[DEATHS_MOST];
	enum sl_twin_end how[DEATHS_MOST];
};

static struct life life_of(struct sim *sim, uint64_t seed, bool on_files)
{
	uint64_t r = seed * 0x9e3779b97f4a7c15ull + 1;
	struct life l;
	const struct ground *g;

	for (int i = 0; i < 4; i++) /* small seeds are alike at first */
		sl_random(&r);
	l.world = (size_t)(seed % sl_world_count);
	l.input = (size_t)(sl_random(&r) % INPUTS);
	l.batch = (size_t)(sl_random(&r) % BATCHES);
	l.schedule = sl_random(&r) % 4 ? sl_random(&r) | 1 : 0;
	l.deaths = 1 + (sl_random(&r) % 3 == 0) + (sl_random(&r) % 9 == 0);
	g = ground(sim, l.world, l.input);
	for (int i = 0; i < DEATHS_MOST; i++) {
		int64_t most = on_files ? g->faults : i && sl_random(&r) % 2 ? 12 : 2 * g->operations;

		l.at[i] = 1 + (int64_t)(sl_random(&r) % (uint64_t)(most ? most : 1));
		l.how[i] = sl_random(&r) % 2 ? SL_TWIN_POWER : SL_TWIN_KILL;
	}
	return l;
}

/* True: as it must be. */
static bool judge(struct sim *sim, struct sl_trial *t, const struct life *l, enum sl_trial_end end, struct sl_buf *why)
{
	struct ground *g = ground(sim, l->world, l->input);
	const struct sl_world *w = &sl_worlds[l->world];
	struct sl_buf digest = { 0 };
	bool same;

	if (end != SL_TRIAL_IDLE) {
		sl_buf_print(why, "ends with %d: %s", (int)end, t->error.text);
		return false;
	}
	if (!w->right(t, &g->fed, why))
		return false;
	sl_trial_digest(t, &digest);
	same = !w->same || (digest.size == g->digest.size && memcmp(digest.data, g->digest.data, digest.size) == 0);
	if (!same) {
		const char *a = sl_buf_text(&g->digest), *b = sl_buf_text(&digest);

		while (*a && *a == *b) {
			a++;
			b++;
		}
		while (a > (const char *)g->digest.data && a[-1] != '\n') {
			a--;
			b--;
		}
		sl_buf_print(why, "differs from the plain run: want %.*s, got %.*s", (int)strcspn(a, "\n"), a,
			     (int)strcspn(b, "\n"), b);
	}
	sl_buf_release(&digest);
	return same;
}

static bool live(struct sim *sim, const struct life *l, struct sl_buf *why)
{
	struct ground *g = ground(sim, l->world, l->input);
	struct sl_trial_case c = sl_world_case(&sl_worlds[l->world], &g->fed);
	struct sl_trial *t;
	enum sl_trial_end end;
	size_t answers;
	int deaths = 0;
	bool right;

	g->fed.oracle = sl_oracle_new();
	c.sync_late = sim->broken_order;
	t = sl_trial_case_new(&c, topology(sim, l->world, l->batch));
	t->twins->seed = (l->schedule ^ (uint64_t)l->at[0] << 20) | 1;
	t->twins->die_at = l->at[0];
	end = sl_trial_finish(t, l->schedule);
	while (t->twins->dead) {
		enum sl_twin_end how = l->how[deaths++];

		assert(deaths <= DEATHS_MOST);
		sim->crashes++;
		if (sim->tell)
			printf("  %s at operation %" PRId64 ": %s\n", how == SL_TWIN_KILL ? "killed" : "power cut",
			       l->at[deaths - 1], t->error.text);
		t->die_next = deaths < l->deaths ? l->at[deaths] : 0;
		end = SL_TRIAL_STOPPED;
		if (sl_trial_restart(t, how))
			end = sl_trial_finish(t, l->schedule);
	}
	answers = sl_oracle_paid_twice(g->fed.oracle);
	right = judge(sim, t, l, end, why);
	if (right && deaths == 0 && answers && !sl_worlds[l->world].forgets) {
		sl_buf_print(why, "%zu questions were paid twice without a crash", answers);
		right = false;
	}
	sl_trial_free(t);
	sl_oracle_free(g->fed.oracle);
	g->fed.oracle = NULL;
	return right;
}

/* -- on real files --------------------------------------------------------------------------------- */

/* In a child: feed or find the folder, play, die at a runtime call; or end well and be judged. */
static void child(struct sim *sim, const struct life *l, const char *folder, int life, bool last)
{
	struct ground *g = ground(sim, l->world, l->input);
	struct sl_trial_case c = sl_world_case(&sl_worlds[l->world], &g->fed);
	struct sl_buf why = { 0 };
	struct sl_trial *t;
	enum sl_trial_end end;

	g->fed.oracle = sl_oracle_new();
	c.folder = folder;
	if (life > 0) {
		c.feed = NULL;
		c.feed_first = NULL;
	}
	t = sl_trial_case_new(&c, topology(sim, l->world, l->batch));
	t->fault_at = last ? 0 : l->at[life];
	t->fault_exits = true;
	end = sl_trial_finish(t, l->schedule);
	if (!judge(sim, t, l, end, &why)) {
		fprintf(stderr, "%s\n", sl_buf_text(&why));
		_exit(1);
	}
	_exit(0);
}

static bool live_on_files(struct sim *sim, const struct life *l, struct sl_buf *why)
{
	char folder[] = "/tmp/sluice-sim-XXXXXX";
	struct sl_error e = { 0 };
	int code = SL_TRIAL_DIED;

	if (!mkdtemp(folder))
		die("mkdtemp", folder);
	for (int i = 0; code == SL_TRIAL_DIED; i++) {
		pid_t pid;
		int status;

		fflush(NULL);
		pid = fork();
		if (pid < 0)
			die("fork", "no process");
		if (pid == 0)
			child(sim, l, folder, i, i >= l->deaths);
		if (waitpid(pid, &status, 0) != pid)
			die("waitpid", "no child");
		code = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
		sim->crashes += code == SL_TRIAL_DIED;
		if (sim->tell)
			printf("  life %d in %s ends with %d\n", i, folder, code);
	}
	if (code != 0)
		sl_buf_print(why, "on files: the last life ended with %d", code);
	if (!sl_folder_remove(folder, &e))
		die("cleaning up", e.text);
	return code == 0;
}

/* -- many -------------------------------------------------------------------------------------------- */

static void one(struct sim *sim, uint64_t seed, bool on_files)
{
	struct life l = life_of(sim, seed, on_files);
	struct sl_buf why = { 0 };
	bool right;

	if (sim->tell)
		printf("seed %" PRIu64 ": %s, input %zu, batches of %d, schedule %" PRIx64 ", %d deaths\n", seed,
		       sl_worlds[l.world].name, l.input, batches[l.batch], l.schedule, l.deaths);
	right = on_files ? live_on_files(sim, &l, &why) : live(sim, &l, &why);
	sim->cases++;
	sim->real += on_files;
	if (!right) {
		sim->wrong++;
		fprintf(stderr, "FAILED: %s: %s\n    play it again: sim --seed %" PRIu64 "%s\n",
			sl_worlds[l.world].name, sl_buf_text(&why), seed, on_files ? " --on-files" : "");
	}
	sl_buf_release(&why);
}

static void clean(struct sim *sim)
{
	for (size_t w = 0; w < sl_world_count; w++) {
		for (size_t b = 0; b < BATCHES; b++)
			sl_topology_free(sim->topologies[w][b]);
		for (size_t i = 0; i < INPUTS; i++) {
			sl_buf_release(&sim->grounds[w][i].digest);
			sl_arena_release(&sim->grounds[w][i].fed.arena);
		}
	}
	free(sim);
}

int main(int argc, char **argv)
{
	struct sim *sim = sl_calloc(1, sizeof *sim);
	const char *long_run = getenv("SL_LONG");
	uint64_t more = long_run && strcmp(long_run, "1") == 0 ? 20 : 1;
	uint64_t cases = 20000 * more, real = 250 * more, from = 1, seed = 0;
	int64_t began = sl_monotonic_ns();
	bool on_files = false;
	int code;

	assert(sl_world_count <= 16);
	sl_log_level_set(SL_LOG_STOP);
	for (int i = 1; i < argc; i++) {
		uint64_t *to = strcmp(argv[i], "--cases") == 0  ? &cases
			       : strcmp(argv[i], "--real") == 0 ? &real
			       : strcmp(argv[i], "--from") == 0 ? &from
			       : strcmp(argv[i], "--seed") == 0 ? &seed
								: NULL;

		if (strcmp(argv[i], "--on-files") == 0) {
			on_files = true;
		} else if (strcmp(argv[i], "--broken-order") == 0) {
			sim->broken_order = true;
		} else if (!to || i + 1 == argc) {
			fprintf(stderr, "usage: sim [--broken-order] [--cases N] [--real N] [--from N] | --seed N "
					"[--on-files]\n");
			return 2;
		} else {
			*to = strtoull(argv[++i], NULL, 10);
		}
	}
	if (seed) {
		sim->tell = true;
		one(sim, seed, on_files);
	} else {
		/* Real files first: no child may inherit anything but plain memory. */
		for (uint64_t n = from; n < from + real && sim->wrong < 5; n++)
			one(sim, n, true);
		for (uint64_t n = from; n < from + cases && sim->wrong < 5; n++)
			one(sim, n, false);
	}
	printf("%" PRIu64 " cases (%" PRIu64 " on files), %" PRIu64 " crashes, seeds from %" PRIu64 ", %.1f s: %" PRIu64
	       " wrong\n",
	       sim->cases, sim->real, sim->crashes, seed ? seed : from, (double)(sl_monotonic_ns() - began) / 1e9,
	       sim->wrong);
	code = sim->wrong ? 1 : 0;
	clean(sim);
	return code;
}
