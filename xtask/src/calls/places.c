// places COUNT ALIKE DISTANCE KIND PAGE: the median time in ns of a call of one of COUNT functions, which all only return, and
// are DISTANCE apart. ALIKE of them each begin at the same place of a page. KIND: how they are called, from this PAGE of a MiB.
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <x86intrin.h>

enum { SAMPLES = 101, TOGETHER = 50, LINE = 64, PAGE = 4096, STUB = 16, MIB = 1 << 20 };

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static int order(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

// An instruction whose last four bytes are the distance to its target.
static uint8_t *put(uint8_t *at, const char *head, const uint8_t *target)
{
	size_t length = strlen(head);
	memcpy(at, head, length);
	int32_t distance = (int32_t)(target - (at + length + 4));
	memcpy(at + length, &distance, 4);
	return at + length + 4;
}

int main(int argc, char **argv)
{
	if (argc != 6) return 2;
	size_t count = strtoul(argv[1], 0, 10), alike = strtoul(argv[2], 0, 10), distance = strtoul(argv[3], 0, 10);
	size_t page = strtoul(argv[5], 0, 10);
	char kind = argv[4][0];
	// The functions, then the caller, the stubs and the slots, which have room for a thousand.
	enum { CALLER, STUBS = 4 * PAGE, SLOTS = 8 * PAGE, REST = 16 * PAGE };
	size_t size = ((count + 1) * distance + MIB - 1) / MIB * MIB, all = size + page * PAGE + REST;
	uint8_t *room = mmap(0, all + MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (room == MAP_FAILED || count > 1000 || alike == 0) return 1;
	uint8_t *functions = room + -(uintptr_t)room % MIB, *rest = functions + size + page * PAGE, *stubs = rest + STUBS, *slots = rest + SLOTS, *next = rest + CALLER;
	*next++ = 0x53; // push %rbx, which aligns the stack
	for (size_t n = 0; n < count; n++) {
		uint8_t *function = functions + n * distance + n / alike * LINE % PAGE;
		uint8_t *stub = stubs + n * STUB, *slot = slots + n * sizeof function;
		*function = 0xc3; // ret
		memcpy(slot, &function, sizeof function);
		switch (kind) {
		case 's': put(stub, "\xff\x25", slot); next = put(next, "\xe8", stub); break; // stub
		case 'j': put(stub, "\xe9", function); next = put(next, "\xe8", stub); break; // stub that jumps directly
		case 'd': next = put(next, "\xe8", function); break; // direct call
		default: next = put(next, "\xff\x15", slot); // call through the slot
		}
	}
	*next++ = 0x5b; // pop %rbx
	*next = 0xc3;
	if (mprotect(functions, all, PROT_READ | PROT_EXEC)) return 1;
	void (*call_all)(void);
	memcpy(&call_all, &rest, sizeof call_all);
	static uint64_t times[SAMPLES];
	for (int n = 0; n < SAMPLES * TOGETHER / 10; n++) call_all();
	double start = now();
	uint64_t first = __rdtsc();
	unsigned aux;
	for (int n = 0; n < SAMPLES; n++) {
		uint64_t before = __rdtscp(&aux);
		for (int round = 0; round < TOGETHER; round++) call_all();
		times[n] = __rdtscp(&aux) - before;
	}
	double tick = (now() - start) / (__rdtsc() - first);
	qsort(times, SAMPLES, sizeof *times, order);
	printf("%.3f\n", times[SAMPLES / 2] * tick / TOGETHER / count);
	return 0;
}
