/* fatal.c -- the operators of sluice-fatal: the one that dies of a word, in place of the product's. */
#include "tests/actors.h"

const struct sl_operator *const sl_operators[] = { &sl_actor_fatal, &sl_actor_tally, NULL };
