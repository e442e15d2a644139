/*
 * Counts the guest's instructions from just before a program is started to the mark in its main and to its exit.
 *
 *   icount ROOT ROUNDS NAME OTHERS HOLD MAP PROGRAM [ARGUMENT]...
 *
 * Under `-icount shift=0` the time-stamp counter advances by one for each instruction of the guest, the kernel's
 * included. The program runs in ROOT, with our environment; it writes CLOCK_MONOTONIC to descriptor 3 as its mark.
 * Meanwhile OTHERS processes of it are alive, held where they set the mark or read their input (HOLD: mark, input),
 * with LD_MORSEL_MAP=MAP unless that is `-`.
 * Prints a line for each round: `count NAME EXIT MAIN FAULTS`, MAIN being 0 without a mark; before them what a loop
 * of a million instructions costs, and `others NAME TABLES ALL`: KiB of the last one's own page tables, and of all in
 * the system that the others have brought.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAP "LD_MORSEL_MAP"

enum { WARM_UP = 3, MAX_ROUNDS = 10000, MAX_OTHERS = 1000 };

struct count {
	uint64_t exit, main;
	long faults;
};

static uint64_t instructions(void)
{
	return __builtin_ia32_rdtsc();
}

static int64_t nanoseconds(const struct timespec *time)
{
	return time->tv_sec * 1000000000LL + time->tv_nsec;
}

static uint64_t million(void)
{
	uint64_t begin = instructions();
	long turns = 500000;
	__asm__ volatile("1: dec %0; jnz 1b" : "+r"(turns));
	return instructions() - begin;
}

/* In a new process: runs the program with these descriptors. */
static void run(char **argv, int input, int null, int mark)
{
	dup2(input, 0);
	dup2(null, 1);
	dup2(mark, 3);
	execv(argv[0], argv);
	_exit(127);
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
	if (value < 0)
		errx(1, "%s says nothing of %s", path, name);
	return value;
}

/* Waits until a process has nothing to do for some time. */
static void wait_until_idle(pid_t pid)
{
	const struct timespec moment = { .tv_nsec = 1000000 };
	int idle = 0;
	char path[64], state;

	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	while (idle < 10) {
		FILE *file = fopen(path, "r");
		if (!file || fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
			err(1, "%s", path);
		fclose(file);
		if (state == 'Z')
			errx(1, "one of the others did not stay");
		idle = state == 'S' ? idle + 1 : 0;
		nanosleep(&moment, NULL);
	}
}

/* Starts the others, and prints what page tables they cost. */
static void start_others(char **argv, const char *name, pid_t *others, int count, const char *hold, int null)
{
	bool at_mark = !strcmp(hold, "mark");
	long tables = kib("/proc/meminfo", "PageTables:");
	char path[64];
	int full[2], silent[2];

	/* One pipe that takes nothing more, and one that nothing comes from. */
	if (pipe2(full, O_CLOEXEC) || pipe2(silent, O_CLOEXEC) || fcntl(full[1], F_SETPIPE_SZ, 4096) < 0)
		err(1, "no pipes");
	if (write(full[1], (char[4096]){ 0 }, 4096) != 4096)
		err(1, "cannot fill a pipe");
	for (int number = 0; number < count; number++) {
		pid_t pid = others[number] = vfork();
		if (pid == 0)
			run(argv, at_mark ? null : silent[0], null, at_mark ? full[1] : null);
		if (pid < 0)
			err(1, "cannot start %s", argv[0]);
		wait_until_idle(pid);
	}
	if (count) {
		snprintf(path, sizeof path, "/proc/%d/status", others[count - 1]);
		printf("others %s %ld %ld\n", name, kib(path, "VmPTE:"), kib("/proc/meminfo", "PageTables:") - tables);
	}
}

static struct count start(char **argv, int null, const int *mark)
{
	struct timespec before, main_time, after;
	struct rusage usage;
	int status;

	clock_gettime(CLOCK_MONOTONIC, &before);
	uint64_t begin = instructions();
	pid_t pid = vfork();
	if (pid == 0)
		run(argv, null, null, mark[1]);
	if (pid < 0 || wait4(pid, &status, 0, &usage) != pid)
		err(1, "cannot start %s", argv[0]);
	uint64_t end = instructions();
	clock_gettime(CLOCK_MONOTONIC, &after);
	if (status)
		errx(1, "%s ended with wait status %#x", argv[0], status);

	struct count count = { .exit = end - begin, .faults = usage.ru_minflt + usage.ru_majflt };
	if (read(mark[0], &main_time, sizeof main_time) == sizeof main_time) {
		/* The kernel's clock is not as exact as the counter, but it runs evenly. */
		double share = (double)(nanoseconds(&main_time) - nanoseconds(&before)) /
			       (nanoseconds(&after) - nanoseconds(&before));
		count.main = share * count.exit;
	}
	return count;
}

int main(int argc, char **argv)
{
	static struct count counts[MAX_ROUNDS];
	static pid_t others[MAX_OTHERS];
	int mark[2];

	if (argc < 8)
		errx(2, "usage: icount ROOT ROUNDS NAME OTHERS HOLD MAP PROGRAM [ARGUMENT]...");
	int rounds = atoi(argv[2]), others_count = atoi(argv[4]);
	const char *others_map = argv[6], *own_map = getenv(MAP);
	char *saved = own_map ? strdup(own_map) : NULL;
	char **program = argv + 7;
	if (others_count < 0 || others_count > MAX_OTHERS)
		errx(2, "others: 0 to %d", MAX_OTHERS);
	if (rounds < 1 || rounds > MAX_ROUNDS)
		errx(2, "rounds: 1 to %d", MAX_ROUNDS);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0 || pipe2(mark, O_CLOEXEC | O_NONBLOCK))
		err(1, "no descriptors");
	/* Descriptor 3 is the program's. */
	for (int end = 0; end < 2; end++)
		if ((mark[end] = fcntl(mark[end], F_DUPFD_CLOEXEC, 10)) < 0)
			err(1, "no descriptors");
	if ((null = fcntl(null, F_DUPFD_CLOEXEC, 10)) < 0)
		err(1, "no descriptors");
	if (chroot(argv[1]) || chdir("/"))
		err(1, "%s", argv[1]);
	/* What is printed while programs are counted would disturb: all at the end. */
	/* What is freed a little after the last process's end is free then. */
	usleep(200000);
	uint64_t loop = million();
	for (int round = 0; round < WARM_UP; round++)
		start(program, null, mark);
	if (strcmp(others_map, "-"))
		setenv(MAP, others_map, 1);
	start_others(program, argv[3], others, others_count, argv[5], null);
	if (saved)
		setenv(MAP, saved, 1);
	else
		unsetenv(MAP);
	for (int round = 0; round < rounds; round++)
		counts[round] = start(program, null, mark);
	for (int number = 0; number < others_count; number++)
		if (kill(others[number], SIGKILL) || waitpid(others[number], NULL, 0) != others[number])
			err(1, "cannot end the others");
	printf("million %llu\n", (unsigned long long)loop);
	for (int round = 0; round < rounds; round++)
		printf("count %s %llu %llu %ld\n", argv[3], (unsigned long long)counts[round].exit,
		       (unsigned long long)counts[round].main, counts[round].faults);
	return 0;
}
