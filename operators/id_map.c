/* id_map.c -- see id_map.h. Removal shifts the rest of the run back, so there
 * are no tombstones and a look-up ends at the first empty cell. */
#include "id_map.h"

#include "../topology/base/buf.h"

#include <assert.h>
#include <stdlib.h>

static size_t home(const struct sl_id_map *m, struct sl_id id)
{
	return (size_t)sl_get_le64(id.b) & (m->room - 1);
}

/* The cell of the id, or the empty one where it would go. room > count. */
static size_t find(const struct sl_id_map *m, struct sl_id id)
{
	size_t i = home(m, id);

	while (m->cells[i].value_plus_1 && !sl_id_equal(m->cells[i].id, id))
		i = (i + 1) & (m->room - 1);
	return i;
}

bool sl_id_map_get(const struct sl_id_map *m, struct sl_id id, uint32_t *value)
{
	size_t i;

	if (m->count == 0)
		return false;
	i = find(m, id);
	if (!m->cells[i].value_plus_1)
		return false;
	*value = m->cells[i].value_plus_1 - 1;
	return true;
}

static void grow(struct sl_id_map *m)
{
	struct sl_id_map old = *m;

	m->room = old.room ? old.room * 2 : 64;
	m->cells = sl_calloc(m->room, sizeof *m->cells);
	for (size_t i = 0; i < old.room; i++)
		if (old.cells[i].value_plus_1)
			m->cells[find(m, old.cells[i].id)] = old.cells[i];
	free(old.cells);
}

void sl_id_map_put(struct sl_id_map *m, struct sl_id id, uint32_t value)
{
	size_t i;

	assert(value < UINT32_MAX);
	if ((m->count + 1) * 2 > m->room)
		grow(m);
	i = find(m, id);
	if (!m->cells[i].value_plus_1)
		m->count++;
	m->cells[i] = (struct sl_id_map_cell){ id, value + 1 };
}

void sl_id_map_remove(struct sl_id_map *m, struct sl_id id)
{
	size_t hole, i;

	if (m->count == 0)
		return;
	hole = i = find(m, id);
	if (!m->cells[hole].value_plus_1)
		return;
	for (;;) {
		i = (i + 1) & (m->room - 1);
		if (!m->cells[i].value_plus_1)
			break;
		/* It may move back only if its home is not between the hole and itself. */
		if (((i - home(m, m->cells[i].id)) & (m->room - 1)) >= ((i - hole) & (m->room - 1))) {
			m->cells[hole] = m->cells[i];
			hole = i;
		}
	}
	m->cells[hole].value_plus_1 = 0;
	m->count--;
}

void sl_id_map_clear(struct sl_id_map *m)
{
	if (m->count)
		memset(m->cells, 0, m->room * sizeof *m->cells);
	m->count = 0;
}

void sl_id_map_release(struct sl_id_map *m)
{
	free(m->cells);
	*m = (struct sl_id_map){ 0 };
}
