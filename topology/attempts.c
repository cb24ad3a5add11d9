/* attempts.c -- the mapped slots and the signal handler behind attempts.h. */
#include "attempts.h"

#include "base/buf.h"
#include "base/hash.h"
#include "base/thread.h"

#include <assert.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define KILLS_MAX 5

struct sl_attempts {
	struct sl_attempt *slots;
	size_t count;
	bool mapped;
	pthread_mutex_t lock; /* while a slot is looked for; a slot itself is its task's */
};

static _Thread_local struct sl_attempt *working;

/* Only a store and a re-raise: both async-signal-safe. SA_RESETHAND gave the default
 * action back, so the signal now ends the process as it would have. */
static void on_crash(int signal_number)
{
	if (working)
		working->crashed = 1;
	raise(signal_number);
}

static void install(void)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };
	struct sigaction action = { .sa_handler = on_crash, .sa_flags = (int)(SA_RESETHAND | SA_NODEFER) };

	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
		struct sigaction old;

		/* A sanitizer's own handler stays. */
		if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler == SIG_DFL)
			sigaction(signals[i], &action, NULL);
	}
}

void sl_attempt_thread(struct sl_attempt *slot)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, install);
	working = slot;
}

/* Slots are taken from the front and never given back. */
static bool used_slots(int fd, size_t slots, size_t *used)
{
	struct sl_attempt slot;

	for (*used = 0; *used < slots; ++*used) {
		if (pread(fd, &slot, sizeof slot, (off_t)(*used * sizeof slot)) != (ssize_t)sizeof slot)
			return false;
		if (slot.task == 0)
			break;
	}
	return true;
}

struct sl_attempts *sl_attempts_open(const char *path, size_t count, struct sl_error *e)
{
	struct sl_attempts *a = sl_calloc(1, sizeof *a);
	struct stat st;
	size_t used;
	void *map;
	int fd;

	sl_mutex_init(&a->lock);
	if (!path) {
		a->count = count;
		a->slots = sl_calloc(count ? count : 1, sizeof *a->slots);
		return a;
	}
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0 || fstat(fd, &st) != 0)
		goto failed;
	if (!used_slots(fd, (size_t)st.st_size / sizeof *a->slots, &used))
		goto failed;
	a->count = used + count;
	if (a->count < (size_t)st.st_size / sizeof *a->slots)
		a->count = (size_t)st.st_size / sizeof *a->slots;
	/* Real blocks, not a hole: a hole that cannot be filled kills by SIGBUS on a full disk. */
	if (posix_fallocate(fd, 0, (off_t)(a->count * sizeof *a->slots)) != 0)
		goto failed;
	map = mmap(NULL, a->count * sizeof *a->slots, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		goto failed;
	close(fd);
	a->slots = map;
	a->mapped = true;
	return a;
failed:
	sl_error_errno(e, SL_STOP, "cannot map '%s'", path);
	if (fd >= 0)
		close(fd);
	sl_mutex_destroy(&a->lock);
	free(a);
	return NULL;
}

void sl_attempts_close(struct sl_attempts *a)
{
	if (!a)
		return;
	if (a->mapped)
		munmap(a->slots, a->count * sizeof *a->slots);
	else
		free(a->slots);
	sl_mutex_destroy(&a->lock);
	free(a);
}

struct sl_attempt *sl_attempts_slot(struct sl_attempts *a, const char *task)
{
	uint64_t hash = sl_hash64(task, strlen(task), 0) | 1;
	size_t i = 0;

	sl_lock(&a->lock);
	while (i < a->count && a->slots[i].task != hash && a->slots[i].task != 0)
		i++;
	assert(i < a->count); /* a slot for every task */
	a->slots[i].task = hash;
	sl_unlock(&a->lock);
	return &a->slots[i];
}

enum sl_attempt_plan sl_attempt_resume(struct sl_attempt *slot, int64_t offset)
{
	bool unclean = slot->active && slot->offset == offset;
	bool crashed = slot->crashed;
	bool single = slot->single;

	slot->active = slot->crashed = slot->single = 0;
	if (slot->offset != offset) /* progress since: the past is no evidence */
		slot->deaths = slot->kills = 0;
	slot->offset = offset;
	if (unclean) {
		slot->deaths++;
		if (single && (crashed || ++slot->kills >= KILLS_MAX))
			return SL_PLAY_NOT;
		if (slot->deaths >= 2)
			slot->alone = 1;
	}
	if (offset >= slot->until)
		slot->alone = 0;
	return slot->alone ? SL_PLAY_ONE : SL_PLAY_BATCH;
}

void sl_attempt_begin(struct sl_attempt *slot, int64_t offset, int64_t end, bool single)
{
	slot->offset = offset;
	slot->single = single;
	if (!single)
		slot->until = end;
	slot->active = 1;
}

void sl_attempt_pause(struct sl_attempt *slot, bool paused)
{
	slot->active = !paused;
}

void sl_attempt_end(struct sl_attempt *slot, int64_t offset)
{
	slot->active = 0;
	slot->offset = offset;
	slot->deaths = slot->kills = 0;
}
