// calls STEPS MASK ROUNDS RELAYED LEAST: the time in ns of a call, of which all libraries take one in each round: median, 90 %, 99 %
// and 99.9 % of the samples, and KiB in huge pages of files. A sample is as many rounds as take LEAST ns, but one at the least.
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <x86intrin.h>
#include "calls.h"

enum { SAMPLES = 11 }; // There are so many at the least.

void all_empty(void), all_relay(void);
unsigned long all_work(const struct job *, unsigned long);
extern const int calls;

static struct job job;
static int relayed;
static unsigned long x = 1;

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static int order(const void *a, const void *b)
{
	unsigned long x = *(const unsigned long *)a, y = *(const unsigned long *)b;
	return (x > y) - (x < y);
}

static unsigned long huge(void)
{
	FILE *maps = fopen("/proc/self/smaps", "r");
	char line[512];
	unsigned long sum = 0, size;
	while (maps && fgets(line, sizeof line, maps))
		if (sscanf(line, "FilePmdMapped: %lu", &size) == 1 || sscanf(line, "ShmemPmdMapped: %lu", &size) == 1)
			sum += size;
	return sum;
}

// The time of so many rounds, by the time stamp counter.
static unsigned long run(size_t rounds)
{
	unsigned aux;
	unsigned long before = __rdtscp(&aux);
	for (size_t round = 0; round < rounds; round++)
		if (job.steps) x = all_work(&job, x);
		else if (relayed) all_relay();
		else all_empty();
	return __rdtscp(&aux) - before;
}

int main(int argc, char **argv)
{
	if (argc != 6) return 2;
	job = (struct job){ strtoul(argv[1], 0, 10), strtoul(argv[2], 0, 10) };
	size_t rounds = strtoul(argv[3], 0, 10), few = rounds / 100 + 1;
	relayed = argv[4][0] == '1';
	double least = strtod(argv[5], 0);
	// On one processor: another would have all in its caches anew.
	cpu_set_t here;
	CPU_ZERO(&here);
	CPU_SET(sched_getcpu(), &here);
	if (sched_setaffinity(0, sizeof here, &here)) return 1;
	run(rounds / 10 + (job.mask + 1) / 64); // once through all memory
	double start = now();
	unsigned long first = __rdtsc();
	run(few);
	double each = (now() - start) / few;
	size_t together = least > each ? least / each + 1 : 1, samples = rounds / together;
	if (samples < SAMPLES) samples = SAMPLES;
	unsigned long *times = malloc(samples * sizeof *times);
	if (!times) return 1;
	memset(times, 1, samples * sizeof *times); // no page faults later
	for (size_t sample = 0; sample < samples; sample++) times[sample] = run(together);
	double tick = (now() - start) / (__rdtsc() - first) / together;
	qsort(times, samples, sizeof *times, order);
	const double shares[] = { 0.5, 0.9, 0.99, 0.999 };
	for (int i = 0; i < 4; i++) printf("%.4f ", times[(size_t)(shares[i] * (samples - 1))] * tick / (calls << relayed));
	printf("%lu\n", huge());
	return x == 0;
}
