/* generate.c -- sluice-sample: preference pairs with a known truth.
 *
 *     sluice-sample --pairs 5000 --seed 7 -o DIR
 *     sluice-sample flip --share 0.3 --gold-share 0.2 --seed 1 -o DIR FILE.jsonl.gz
 *     sluice-sample precision --truth DIR/truth.jsonl curated.jsonl flipped.jsonl
 *
 * The first writes a set into DIR (README.md says what is in it), the second makes such
 * a set of pairs that somebody else wrote, the third tells how right the labels of
 * exported files are. Exit codes: 0 done, 1 failed, 2 not understood. */
#include "sample.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const char help[] =
	"usage: sluice-sample --pairs N -o DIR [options]\n"
	"       sluice-sample flip -o DIR [--share X] [--gold-share X] [--gold-by prompt|line]\n"
	"                     [--longer-share X] [--seed N] FILE...\n"
	"       sluice-sample precision --truth FILE [--json] EXPORTED.jsonl...\n"
	"\n"
	"  --pairs N           lines in raw.jsonl and gold.jsonl together\n"
	"  -o, --out DIR       the folder for raw, gold, benchmark and truth.jsonl and summary.json\n"
	"  --seed N            the same seed gives the same bytes (1)\n"
	"  --gold-share X      of all lines, human-verified ones (0.2)\n"
	"  --gold-copies X     of all lines, raw copies of gold pairs as they arrived (0)\n"
	"  --noise X           of the arrived labels, wrong ones: 0 to 0.5 (0.2)\n"
	"  --noise-kind K      random, or shorter: wrong labels prefer the shorter answer (random)\n"
	"  --duplicates X      of all lines (0.03)\n"
	"  --near X            near-duplicates (0.03)\n"
	"  --conflicts X       copies with the label swapped (0.02)\n"
	"  --contaminated X    with a prompt from benchmark.jsonl (0.01)\n"
	"  --broken X          that no reader should take (0.005)\n"
	"  --mean-bytes N      of a line: 700 to 65536 (2300)\n";

static int misused(const char *option, const char *value, const char *expected)
{
	fprintf(stderr, "sluice-sample: '%s' is not a value of %s: expected %s\n", value, option, expected);
	return 2;
}

static bool read_count(const char *text, uint64_t least, uint64_t most, uint64_t *to)
{
	char *end;

	errno = 0;
	*to = strtoull(text, &end, 10);
	return text[0] >= '0' && text[0] <= '9' && *end == 0 && errno == 0 && *to >= least && *to <= most;
}

static bool read_share(const char *text, double most, double *to)
{
	char *end;

	*to = strtod(text, &end);
	return end != text && *end == 0 && *to >= 0 && *to <= most;
}

static int fail(const struct sl_error *e)
{
	fprintf(stderr, "sluice-sample: %s\n", e->text);
	return 1;
}

static int generate(int argc, char **argv)
{
	enum { PAIRS = 256, SEED, NOISE_KIND, MEAN_BYTES, SHARES };
	struct sl_sample_plan plan = sl_sample_plan_default();
	const struct {
		const char *name;
		double *to;
		double most;
	} shares[] = { { "gold-share", &plan.gold, 1 },
		       { "gold-copies", &plan.gold_copies, 1 },
		       { "noise", &plan.noise, 0.5 },
		       { "duplicates", &plan.duplicates, 1 },
		       { "near", &plan.near, 1 },
		       { "conflicts", &plan.conflicts, 1 },
		       { "contaminated", &plan.contaminated, 1 },
		       { "broken", &plan.broken, 1 } };
	enum { SHARE_COUNT = sizeof shares / sizeof *shares, FIXED = 6 };
	struct option options[FIXED + SHARE_COUNT + 1] = { { "pairs", required_argument, NULL, PAIRS },
							   { "seed", required_argument, NULL, SEED },
							   { "noise-kind", required_argument, NULL, NOISE_KIND },
							   { "mean-bytes", required_argument, NULL, MEAN_BYTES },
							   { "out", required_argument, NULL, 'o' },
							   { "help", no_argument, NULL, 'h' } };
	const char *folder = NULL;
	uint64_t n;
	int c;

	for (int i = 0; i < SHARE_COUNT; i++)
		options[FIXED + i] = (struct option){ shares[i].name, required_argument, NULL, SHARES + i };
	while ((c = getopt_long(argc, argv, "o:h", options, NULL)) != -1) {
		switch (c) {
		case PAIRS:
			if (!read_count(optarg, 1, UINT64_C(1000000000), &plan.pairs))
				return misused("--pairs", optarg, "1 to 1000000000");
			break;
		case SEED:
			if (!read_count(optarg, 0, UINT64_MAX, &plan.seed))
				return misused("--seed", optarg, "a whole number");
			break;
		case MEAN_BYTES:
			if (!read_count(optarg, 700, 65536, &n))
				return misused("--mean-bytes", optarg, "700 to 65536");
			plan.mean_bytes = n;
			break;
		case NOISE_KIND:
			plan.noise_shorter = strcmp(optarg, "shorter") == 0;
			if (!plan.noise_shorter && strcmp(optarg, "random") != 0)
				return misused("--noise-kind", optarg, "random or shorter");
			break;
		case 'o':
			folder = optarg;
			break;
		case 'h':
			fputs(help, stdout);
			return 0;
		case '?':
			fputs("sluice-sample: --help lists the options\n", stderr);
			return 2;
		default:
			if (!read_share(optarg, shares[c - SHARES].most, shares[c - SHARES].to))
				return misused(shares[c - SHARES].name, optarg,
					       shares[c - SHARES].most < 1 ? "0 to 0.5" : "0 to 1");
		}
	}
	if (optind < argc || !folder || plan.pairs == 0) {
		fputs("sluice-sample: --pairs and -o DIR are needed, and nothing else but options; --help lists them\n",
		      stderr);
		return 2;
	}
	if (plan.gold + plan.gold_copies + plan.duplicates + plan.near + plan.conflicts + plan.contaminated +
		    plan.broken >
	    1) {
		fputs("sluice-sample: the shares of gold, copies, conflicts, contaminated and broken lines exceed 1\n",
		      stderr);
		return 2;
	}

	struct sl_error e;

	return sl_sample_write_folder(&plan, folder, &e) ? 0 : fail(&e);
}

static int flip(int argc, char **argv)
{
	enum { SEED = 256, SHARE, GOLD_SHARE, GOLD_BY, LONGER_SHARE };
	const struct option options[] = { { "seed", required_argument, NULL, SEED },
					  { "share", required_argument, NULL, SHARE },
					  { "gold-share", required_argument, NULL, GOLD_SHARE },
					  { "gold-by", required_argument, NULL, GOLD_BY },
					  { "longer-share", required_argument, NULL, LONGER_SHARE },
					  { "out", required_argument, NULL, 'o' },
					  { "help", no_argument, NULL, 'h' },
					  { NULL, 0, NULL, 0 } };
	struct sl_flip_plan plan = { .seed = 1, .share = 0.3, .gold = 0.2 };
	struct sl_flip_counts counts;
	const char *folder = NULL;
	struct sl_error e;
	int c;

	while ((c = getopt_long(argc, argv, "o:h", options, NULL)) != -1) {
		switch (c) {
		case SEED:
			if (!read_count(optarg, 0, UINT64_MAX, &plan.seed))
				return misused("--seed", optarg, "a whole number");
			break;
		case SHARE:
			if (!read_share(optarg, 0.5, &plan.share))
				return misused("--share", optarg, "0 to 0.5");
			break;
		case GOLD_SHARE:
			if (!read_share(optarg, 1, &plan.gold))
				return misused("--gold-share", optarg, "0 to 1");
			break;
		case GOLD_BY:
			plan.gold_by_line = strcmp(optarg, "line") == 0;
			if (!plan.gold_by_line && strcmp(optarg, "prompt") != 0)
				return misused("--gold-by", optarg, "prompt or line");
			break;
		case LONGER_SHARE:
			if (!read_share(optarg, 1, &plan.longer))
				return misused("--longer-share", optarg, "0 to 1");
			break;
		case 'o':
			folder = optarg;
			break;
		case 'h':
			fputs(help, stdout);
			return 0;
		default:
			fputs("sluice-sample: --help lists the options\n", stderr);
			return 2;
		}
	}
	if (!folder || optind == argc) {
		fputs("sluice-sample: flip needs -o DIR and at least one file of JSON lines\n", stderr);
		return 2;
	}
	if (!sl_sample_flip(&plan, (const char *const *)argv + optind, (size_t)(argc - optind), folder, &counts, &e))
		return fail(&e);
	printf("{\"raw\": %" PRIu64 ", \"raw_flipped\": %" PRIu64 ", \"gold\": %" PRIu64 ", \"others\": %" PRIu64 "}\n",
	       counts.raw, counts.raw_flipped, counts.gold, counts.others);
	return 0;
}

static void print_precision(const char *file, const struct sl_precision *p, bool json, bool first)
{
	uint64_t known = p->right + p->wrong;
	double precision = known ? (double)p->right / (double)known : 0;

	if (json) {
		printf("{\"file\": \"%s\", \"pairs\": %" PRIu64 ", \"right\": %" PRIu64 ", \"wrong\": %" PRIu64
		       ", \"unknown\": %" PRIu64 ", \"kinds\": {",
		       file, p->pairs, p->right, p->wrong, p->unknown);
		for (int i = 0; i < SL_SAMPLE_KINDS; i++)
			printf("%s\"%s\": %" PRIu64, i ? ", " : "", sl_sample_kind_names[i], p->kinds[i]);
		puts("}}");
		return;
	}
	if (first)
		printf("%10s %10s %10s %10s %10s  %s\n", "pairs", "right", "wrong", "unknown", "precision", "file");
	printf("%10" PRIu64 " %10" PRIu64 " %10" PRIu64 " %10" PRIu64, p->pairs, p->right, p->wrong, p->unknown);
	if (known)
		printf(" %10.4f  %s\n", precision, file);
	else
		printf(" %10s  %s\n", "-", file);
}

static int precision(int argc, char **argv)
{
	const struct option options[] = { { "truth", required_argument, NULL, 't' },
					  { "json", no_argument, NULL, 'j' },
					  { "help", no_argument, NULL, 'h' },
					  { NULL, 0, NULL, 0 } };
	const char *truth_path = NULL;
	bool json = false;
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (c) {
		case 't':
			truth_path = optarg;
			break;
		case 'j':
			json = true;
			break;
		case 'h':
			fputs(help, stdout);
			return 0;
		default:
			fputs("sluice-sample: --help lists the options\n", stderr);
			return 2;
		}
	}
	if (!truth_path || optind == argc) {
		fputs("sluice-sample: precision needs --truth FILE and at least one exported file\n", stderr);
		return 2;
	}

	struct sl_error e;
	struct sl_truth *truth = sl_truth_load(truth_path, &e);

	if (!truth)
		return fail(&e);
	for (int i = optind; i < argc; i++) {
		struct sl_precision p;

		if (!sl_truth_check(truth, argv[i], &p, &e)) {
			sl_truth_free(truth);
			return fail(&e);
		}
		print_precision(argv[i], &p, json, i == optind);
	}
	sl_truth_free(truth);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "flip") == 0)
		return flip(argc - 1, argv + 1);
	if (argc > 1 && strcmp(argv[1], "precision") == 0)
		return precision(argc - 1, argv + 1);
	return generate(argc, argv);
}
