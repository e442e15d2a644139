/*
 * What it costs to map a region in every way, and to touch a part of its pages for the first time.
 *
 *   cost PAGES WORDS ROUNDS
 *
 * Prints a line for each trial, `WAY PROCESS PERMILLE SETUP TOUCH OWN SHARED`: the process is the first one, or a later one
 * that finds what the first has made; times in nanoseconds, until the region can be used and then for touching; KiB of the
 * region's pages that are the process's own, and that it has in common with others. Every touched word is compared.
 */
#define _GNU_SOURCE
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "region.h"

static const int permille[] = { 10, 100, 1000 };

static long long now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

/* The pages in an order without order, which is always the same. */
static size_t *shuffled(size_t count)
{
	size_t *order = calloc(count, sizeof *order);

	if (!order)
		err(1, "no memory");
	srand(1);
	for (size_t place = 0; place < count; place++) {
		size_t other = rand() % (place + 1);
		order[place] = order[other];
		order[other] = place;
	}
	return order;
}

/* The first address of each page before it is moved: read here, so that comparing costs a child no page faults. */
static uint64_t *first_words(const struct region *region)
{
	uint64_t *words = calloc(region->count, sizeof *words);

	if (!words)
		err(1, "no memory");
	for (size_t page = 0; page < region->count; page++)
		words[page] = region_expected(region, OWN_BASE, page);
	return words;
}

/* KiB of a range that are the process's own, and of files or shared memory. */
static void memory(const char *start, size_t size, long *anonymous, long *shared)
{
	FILE *file = fopen("/proc/self/smaps", "r");
	unsigned long from = 0, to;
	bool inside = false;
	char line[512];
	long kib, rss = 0;

	if (!file)
		err(1, "smaps");
	*anonymous = 0;
	while (fgets(line, sizeof line, file)) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			inside = from >= (unsigned long)start && to <= (unsigned long)start + size;
		else if (inside && sscanf(line, "Rss: %ld", &kib) == 1)
			rss += kib;
		else if (inside && sscanf(line, "Anonymous: %ld", &kib) == 1)
			*anonymous += kib;
	}
	*shared = rss - *anonymous;
	fclose(file);
}

static void trial(enum way way, const struct region *region, const struct around *around, const char *process,
		  const size_t *order, const uint64_t *words, int share)
{
	size_t touched = (region->count * share + 999) / 1000;
	long anonymous, shared;

	fflush(stdout);
	pid_t pid = fork();
	if (pid < 0)
		err(1, "fork");
	if (pid == 0) {
		long long begin = now();
		char *start = way_map(way, region, around);
		if (!start)
			err(1, "%s", way_names[way]);
		long long ready = now();
		uint64_t wrong = 0;
		for (size_t place = 0; place < touched; place++) {
			volatile uint64_t *word = (void *)(start + region_word(region, order[place]));
			wrong |= *word ^ (words[order[place]] + (way == OWN_BASE ? 0 : region->delta));
		}
		long long end = now();
		if (wrong)
			errx(1, "%s: a word is not right", way_names[way]);
		memory(start, region->count * PAGE, &anonymous, &shared);
		printf("%s %s %d %lld %lld %ld %ld\n", way_names[way], process, share, ready - begin, end - ready,
		       anonymous, shared);
		fflush(stdout);
		_exit(0);
	}
	int status;
	if (waitpid(pid, &status, 0) != pid || status)
		errx(1, "%s ended with wait status %#x", way_names[way], status);
}

int main(int argc, char **argv)
{
	if (argc != 4)
		errx(2, "usage: cost PAGES WORDS ROUNDS");
	struct region region = region_read(argv[1], argv[2]);
	const size_t *order = shuffled(region.count);
	const uint64_t *words = first_words(&region);
	for (int round = atoi(argv[3]); round > 0; round--)
		for (enum way way = 0; way < WAYS; way++)
			for (size_t share = 0; share < sizeof permille / sizeof *permille; share++) {
				struct around first = way_prepare(way, &region, false);
				trial(way, &region, &first, "first", order, words, permille[share]);
				way_end(&first, true);
				if (first.memfd < 0)
					continue;
				struct around later = way_again(way, &region, &first);
				trial(way, &region, &later, "later", order, words, permille[share]);
				way_end(&later, false);
			}
	return 0;
}
