/* faults.c -- the names of what goes wrong on purpose, and their shares. */
#include "llm.h"

#include <stdlib.h>

const char *const fault_names[FAULT_COUNT] = {
	"none",        "408",          "409",     "429",      "429_ms", "429_seconds", "429_date",
	"500",         "503",          "quota",   "too_long", "401",    "404",         "reset_before",
	"reset_after", "never",        "garbage", "half",     "drip",   "not_json",    "refusal",
	"length",      "length_empty", "empty",   "prose",    "fences", "wrong_key",   "bad_json",
};

/* What passes when it is tried again. */
static const enum fault passing[] = { FAULT_408,      FAULT_409,     FAULT_429,  FAULT_429_MS,       FAULT_429_SECONDS,
				      FAULT_429_DATE, FAULT_500,     FAULT_503,  FAULT_RESET_BEFORE, FAULT_RESET_AFTER,
				      FAULT_NEVER,    FAULT_GARBAGE, FAULT_HALF, FAULT_DRIP };
static const enum fault contents[] = { FAULT_REFUSAL, FAULT_LENGTH, FAULT_LENGTH_EMPTY, FAULT_EMPTY,
				       FAULT_PROSE,   FAULT_FENCES, FAULT_WRONG_KEY,    FAULT_BAD_JSON };

static bool set(struct faults *f, struct sl_bytes name, double share)
{
	size_t n = sizeof passing / sizeof *passing, m = sizeof contents / sizeof *contents;

	for (size_t i = 0; i < n && sl_is(name, "all"); i++)
		f->share[passing[i]] = share / (double)n;
	for (size_t i = 0; i < m && sl_is(name, "contents"); i++)
		f->share[contents[i]] = share / (double)m;
	for (int i = FAULT_NONE + 1; i < FAULT_COUNT; i++) {
		if (sl_is(name, fault_names[i])) {
			f->share[i] = share;
			return true;
		}
	}
	return sl_is(name, "all") || sl_is(name, "contents");
}

bool faults_parse(const char *text, struct faults *to, struct sl_error *e)
{
	struct faults f = { { 0 } };
	double sum = 0;

	while (*text) {
		size_t size = strcspn(text, ","), name = strcspn(text, "=,");
		char *end = NULL;
		double share = text[name] == '=' ? strtod(text + name + 1, &end) : -1;

		if (end != text + size || !(share >= 0 && share <= 1) ||
		    !set(&f, (struct sl_bytes){ text, name }, share))
			return sl_error_set(e, SL_STOP, "'%.*s' is not KIND=SHARE of a known kind", (int)size, text);
		text += size + (text[size] == ',');
	}
	for (int i = 0; i < FAULT_COUNT; i++)
		sum += f.share[i];
	if (sum > 1.0000001)
		return sl_error_set(e, SL_STOP, "the shares of faults add up to %g", sum);
	*to = f;
	return true;
}

enum fault fault_draw(const struct faults *f, double u)
{
	for (int i = FAULT_NONE + 1; i < FAULT_COUNT; i++) {
		if (u < f->share[i])
			return (enum fault)i;
		u -= f->share[i];
	}
	return FAULT_NONE;
}
