/* registry.c -- from the word in a topology file to the operator. The list
 * itself is made by the build from the file names (CMakeLists.txt). */
#include "operator.h"

const struct sl_operator *sl_operator_find(const char *name)
{
	for (const struct sl_operator *const *op = sl_operators; *op; op++)
		if (strcmp((*op)->name, name) == 0)
			return *op;
	return NULL;
}
