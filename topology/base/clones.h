/* clones.h -- a function compiled twice, for any processor and for one with AVX2;
 * the loader picks. For loops that a compiler turns into vectors: both give the same
 * bits, because no operation is fused (-ffp-contract=off) and none changes places. */
#ifndef SL_CLONES_H
#define SL_CLONES_H

/* The sanitizers' runtimes are not up yet when the loader picks a clone. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) &&                           \
	!defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define SL_CLONES __attribute__((target_clones("avx2", "default")))
#else
#define SL_CLONES
#endif

#endif
