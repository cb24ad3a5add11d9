/* test_attempts.c -- histories of deaths and what they lead to, and the slots in the mapped file. */
#include "topology/attempts.h"

#include "topology/base/file.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

/* One letter per life, all of them beginning at the committed offset so far:
 *     c  crashes in a transaction       k  is killed in one
 *     .  ends it well and commits it    p  is killed while it waits for answers
 * Then how the next life plays the record at that offset. */
struct history {
	const char *name, *lives;
	enum sl_attempt_plan plan;
};

#define BATCH 10

static const struct history histories[] = {
	{ "nothing happened", "", SL_PLAY_BATCH },
	{ "ended well", ".", SL_PLAY_BATCH },
	{ "one crash may be chance", "c", SL_PLAY_BATCH },
	{ "one kill", "k", SL_PLAY_BATCH },
	{ "two at one offset", "cc", SL_PLAY_ONE },
	{ "two kills", "kk", SL_PLAY_ONE },
	{ "the third crash, alone", "ccc", SL_PLAY_NOT },
	{ "a kill alone is a fifth", "cck", SL_PLAY_ONE },
	{ "four kills alone", "cckkkk", SL_PLAY_ONE },
	{ "five kills alone", "cckkkkk", SL_PLAY_NOT },
	{ "a crash after a kill alone", "cckc", SL_PLAY_NOT },
	{ "progress between", "c.c", SL_PLAY_BATCH },
	{ "progress between two", "cc.", SL_PLAY_ONE },
	{ "the record after it, alone, crashes", "cc.c", SL_PLAY_NOT },
	{ "until the batch is through", "cc..........", SL_PLAY_BATCH },
	{ "waiting is not playing", "ppppppp", SL_PLAY_BATCH },
	{ "a dead letter and on", "ccc.", SL_PLAY_ONE },
};

static void history(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof histories / sizeof *histories; i++) {
		const struct history *h = &histories[i];
		struct sl_error e;
		struct sl_attempts *a = sl_attempts_open(NULL, 1, &e);
		struct sl_attempt *slot = sl_attempts_slot(a, "step.0");
		enum sl_attempt_plan plan;
		int64_t offset = 100;

		for (const char *life = h->lives; *life; life++) {
			bool single = sl_attempt_resume(slot, offset) != SL_PLAY_BATCH;
			int64_t end = offset + (single ? 1 : BATCH);

			sl_attempt_begin(slot, offset, end, single);
			if (*life == 'c')
				slot->crashed = 1;
			else if (*life == 'p')
				sl_attempt_pause(slot, true);
			else if (*life == '.')
				sl_attempt_end(slot, offset = end);
		}
		plan = sl_attempt_resume(slot, offset);
		if (plan != h->plan)
			fail_msg("%s: plan %d, expected %d", h->name, (int)plan, (int)h->plan);
		sl_attempts_close(a);
	}
}

static void in_a_file(void **state)
{
	char folder[] = "/tmp/sluice-attempts-XXXXXX", path[100];
	struct sl_error e = { 0 };
	off_t size = 0;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/attempts", folder);
	for (int life = 0; life < 5; life++) {
		pid_t pid = fork();
		struct sl_attempts *a;
		struct stat st;
		int status;

		if (pid == 0) {                   /* dies of its own signal, of another's, or well */
			signal(SIGSEGV, SIG_DFL); /* cmocka and sanitizers have their own */
			a = sl_attempts_open(path, 3, &e);
			struct sl_attempt *slot = a ? sl_attempts_slot(a, "two") : NULL;

			if (!slot || !sl_attempts_slot(a, "one"))
				_exit(1);
			sl_attempt_thread(slot);
			sl_attempt_begin(slot, 7, 9, false);
			if (life == 0)
				raise(SIGSEGV);
			if (life == 1)
				raise(SIGKILL);
			sl_attempt_end(slot, 9);
			sl_attempts_close(a);
			_exit(0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (life > 1)
			assert_int_equal(status, 0);
		a = sl_attempts_open(path, 3, &e);
		assert_non_null(a);
		assert_int_equal(sl_attempts_slot(a, "two")->active, life < 2);
		assert_int_equal(sl_attempts_slot(a, "two")->crashed, life == 0);
		if (life == 0)
			sl_attempts_slot(a, "two")->crashed = 0;
		assert_int_equal(sl_attempts_slot(a, "one")->active, 0);
		sl_attempts_close(a);
		assert_int_equal(stat(path, &st), 0);
		if (life > 0)
			assert_int_equal(st.st_size, size); /* it does not grow with every opening */
		size = st.st_size;
	}
	/* more tasks than before find room */
	struct sl_attempts *a = sl_attempts_open(path, 40, &e);

	for (int i = 0; i < 40; i++) {
		char name[20];

		snprintf(name, sizeof name, "new %d", i);
		assert_non_null(sl_attempts_slot(a, name));
	}
	sl_attempts_close(a);
	assert_null(sl_attempts_open("/nonexistent/attempts", 1, &e));
	assert_int_equal(e.verdict, SL_STOP);
	assert_true(sl_folder_remove(folder, &e));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(history), cmocka_unit_test(in_a_file) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
