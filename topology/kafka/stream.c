/* stream.c -- the table of functions of ../stream.h: being written. */
#include "kafka.h"

const struct sl_stream_ops sl_stream_kafka = { .name = "kafka" };
