/* reverse.h -- a pair with its label swapped: the rejected answer becomes chosen.
 *
 * Everything that is stated in terms of chosen and rejected turns with it: the
 * answers, margin, the rewards of every score, every vote's verdict and the order
 * in which its judge saw the answers, the judgement. label_flipped toggles: it says
 * that the answers stand the other way round than they arrived. What belongs to
 * the pair as it arrived stays: id, pair_key, group, arrival, gold, meta, exemplars,
 * decision, trail. vectors.difference is dropped. Reversing twice gives back the
 * rest to the bit. */
#ifndef SL_REVERSE_H
#define SL_REVERSE_H

#include "../schemas/pair.h"

/* `to` may be `from`. New arrays lie in the arena. */
void sl_pair_reverse(const struct sl_pair *from, struct sl_pair *to, struct sl_arena *a);

#endif
