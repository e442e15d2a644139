/*
 * Maps part of a file in processes of their own that live at the same time, touches it, and counts instructions (see
 * icount.c).
 *
 *   regions NAME MODE FILE MIB PERCENT PROCESSES MAPPINGS
 *
 * MODE: mmap, populate (MAP_POPULATE), advise (MADV_POPULATE_READ), morsel, huge (a huge morsel).
 * PERCENT of the pages (a divisor of 100) are read, evenly spread. Each process has so many MAPPINGS besides, each of a
 * file of its own. Prints
 *
 *   region NAME FIRST MAP TOUCH EXIT FAULTS TABLES ALL
 *
 * instructions to map and touch in the first process, to map and to touch in the last one, and to end that; its page
 * faults; KiB of page tables: its own, and of all in the system that the processes have brought.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "morsel.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

enum { MAX_PROCESSES = 1000 };

struct result {
	uint64_t map, touch;
	long faults;
};

static uint64_t instructions(void)
{
	return __builtin_ia32_rdtsc();
}

static long faults(void)
{
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	/* A fault that had to start again counts as a major one. */
	return usage.ru_minflt + usage.ru_majflt;
}

/* Where a page table begins, with room for `length` bytes. */
static char *place(size_t length)
{
	char *room = mmap(NULL, length + MORSEL_ALIGN, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (room == MAP_FAILED || munmap(room, length + MORSEL_ALIGN))
		err(1, "no room");
	return (char *)(((uintptr_t)room + MORSEL_ALIGN - 1) & -MORSEL_ALIGN);
}

static void map(const char *mode, char *at, size_t length, int file, int device)
{
	if (!strcmp(mode, "morsel") || !strcmp(mode, "huge")) {
		struct morsel_region region = {
			.fd = file,
			.prot = PROT_READ | PROT_EXEC,
			.length = length,
			.addr = (uintptr_t)at,
			.flags = *mode == 'h' ? MORSEL_HUGE : 0,
		};
		if (ioctl(device, MORSEL_ATTACH, &region))
			err(1, "MORSEL_ATTACH");
		if (region.state != MORSEL_SHARED)
			errx(1, "it is not shared, reason %u", region.reason);
		return;
	}
	int populate = !strcmp(mode, "populate") ? MAP_POPULATE : 0;
	if (mmap(at, length, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED | populate, file, 0) != at)
		err(1, "mmap");
	if (!strcmp(mode, "advise") && madvise(at, length, MADV_POPULATE_READ))
		err(1, "MADV_POPULATE_READ");
}

static void touch(const char *at, long pages, int percent)
{
	/* A loop of few instructions: they are counted as well. */
	for (const char *end = at + 4096 * pages; at < end; at += 4096 * (100 / percent))
		(void)*(volatile const char *)at;
}

/* One process: reports to descriptor 1, and stays until its input ends. */
static int one(char **argv)
{
	const char *mode = argv[0];
	size_t length = (size_t)atoi(argv[2]) << 20;
	int file = open(argv[1], O_RDONLY | O_CLOEXEC);
	int device = open(MORSEL_DEVICE, O_RDONLY | O_CLOEXEC);
	struct result result;
	char byte;

	if (file < 0 || device < 0)
		err(1, "%s or %s", argv[1], MORSEL_DEVICE);
	for (int mapping = atoi(argv[4]); mapping > 0; mapping--)
		if (mmap(NULL, 4096, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
			err(1, "no mapping");
	char *at = place(length);
	/* The code and data that are counted are there. */
	touch(at, 0, 100);
	result.faults = faults();
	uint64_t begin = instructions();
	map(mode, at, length, file, device);
	uint64_t mapped = instructions();
	touch(at, length / 4096, atoi(argv[3]));
	result.touch = instructions() - mapped;
	result.map = mapped - begin;
	result.faults = faults() - result.faults;
	return write(1, &result, sizeof result) != sizeof result || read(0, &byte, 1) != 0;
}

/* A number of KiB in a file of /proc. */
static long kib(const char *path, const char *name)
{
	char line[256];
	long value = -1;
	/* What is freed a little later is free then, and what processors have counted for themselves is added up. */
	usleep(200000);
	int refresh = open("/proc/sys/vm/stat_refresh", O_WRONLY);
	if (refresh < 0 || write(refresh, "1", 1) != 1)
		err(1, "/proc/sys/vm/stat_refresh");
	close(refresh);
	FILE *file = fopen(path, "r");
	if (!file)
		err(1, "%s", path);
	while (value < 0 && fgets(line, sizeof line, file))
		if (!strncmp(line, name, strlen(name)))
			value = atol(line + strlen(name));
	fclose(file);
	return value;
}

int main(int argc, char **argv)
{
	static pid_t processes[MAX_PROCESSES];
	struct result first = { 0 }, last = { 0 };
	int report[2], gate[2], status;
	char path[64];

	if (argc == 7 && !strcmp(argv[1], "one"))
		return one(argv + 2);
	int count = argc == 8 ? atoi(argv[6]) : 0;
	if (count < 1 || count > MAX_PROCESSES)
		errx(2, "usage: regions NAME MODE FILE MIB PERCENT PROCESSES MAPPINGS");
	long before = kib("/proc/meminfo", "PageTables:");
	if (pipe2(report, O_CLOEXEC) || pipe2(gate, O_CLOEXEC))
		err(1, "pipe");
	for (int number = 0; number < count; number++) {
		pid_t pid = processes[number] = vfork();
		if (pid == 0) {
			dup2(gate[0], 0);
			dup2(report[1], 1);
			execv("/proc/self/exe",
			      (char *[]){ argv[0], "one", argv[2], argv[3], argv[4], argv[5], argv[7], NULL });
			_exit(127);
		}
		if (number == count - 1)
			close(report[1]);
		if (read(report[0], &last, sizeof last) != sizeof last)
			errx(1, "process %d of %s failed", number, argv[1]);
		if (number == 0)
			first = last;
	}
	snprintf(path, sizeof path, "/proc/%d/status", processes[count - 1]);
	long own = kib(path, "VmPTE:"), all = kib("/proc/meminfo", "PageTables:") - before;
	/* The last one is ended while the others have the region. */
	uint64_t begin = instructions();
	kill(processes[count - 1], SIGKILL);
	waitpid(processes[count - 1], &status, 0);
	uint64_t end = instructions() - begin;
	for (int number = 0; number < count - 1; number++) {
		kill(processes[number], SIGKILL);
		waitpid(processes[number], &status, 0);
	}
	printf("region %s %llu %llu %llu %llu %ld %ld %ld\n", argv[1],
	       (unsigned long long)(first.map + first.touch), (unsigned long long)last.map,
	       (unsigned long long)last.touch, (unsigned long long)end, last.faults, own, all);
	return 0;
}
