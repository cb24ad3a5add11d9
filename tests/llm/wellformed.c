/* wellformed.c -- for scripts: whether what comes in is Prometheus text that every reader takes (tests/exposition.h).
 */
#include "tests/exposition.h"
#include "topology/base/buf.h"

#include <stdio.h>

int main(void)
{
	struct sl_buf text = { 0 };
	struct sl_error e = { 0 };
	size_t n;
	int code = 0;

	while ((n = fread(sl_buf_reserve(&text, 65536), 1, 65536, stdin)) > 0)
		text.size += n;
	if (text.size == 0 || !sl_exposition_check(sl_buf_text(&text), &e)) {
		fprintf(stderr, "sluice-wellformed: %s\n", text.size ? e.text : "there is no text");
		code = 1;
	}
	sl_buf_release(&text);
	return code;
}
