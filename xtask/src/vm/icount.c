/*
 * Counts the guest's instructions from just before a program is started to the mark in its main and to its exit.
 *
 *   icount ROOT ROUNDS NAME PROGRAM [ARGUMENT]...
 *
 * Under `-icount shift=0` the time-stamp counter advances by one for each instruction of the guest, the kernel's
 * included. The program runs in ROOT, with our environment; it writes CLOCK_MONOTONIC to descriptor 3 as its mark.
 * Prints a line for each round: `count NAME EXIT MAIN`, MAIN being 0 without a mark; and first what a loop of a
 * million instructions costs.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WARM_UP = 3, MAX_ROUNDS = 10000 };

struct count {
	uint64_t exit, main;
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

static struct count start(char **argv, int null, const int *mark)
{
	struct timespec before, main_time, after;
	int status;

	clock_gettime(CLOCK_MONOTONIC, &before);
	uint64_t begin = instructions();
	pid_t pid = vfork();
	if (pid == 0) {
		dup2(null, 0);
		dup2(null, 1);
		dup2(mark[1], 3);
		execv(argv[0], argv);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		err(1, "cannot start %s", argv[0]);
	uint64_t end = instructions();
	clock_gettime(CLOCK_MONOTONIC, &after);
	if (status)
		errx(1, "%s ended with wait status %#x", argv[0], status);

	struct count count = { .exit = end - begin };
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
	int mark[2];

	if (argc < 5)
		errx(2, "usage: icount ROOT ROUNDS NAME PROGRAM [ARGUMENT]...");
	int rounds = atoi(argv[2]);
	if (rounds < 1 || rounds > MAX_ROUNDS)
		errx(2, "rounds: 1 to %d", MAX_ROUNDS);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0 || pipe2(mark, O_CLOEXEC | O_NONBLOCK))
		err(1, "no descriptors");
	/* Descriptor 3 is the program's. */
	for (int end = 0; end < 2; end++)
		if ((mark[end] = fcntl(mark[end], F_DUPFD_CLOEXEC, 10)) < 0)
			err(1, "no descriptors");
	if (chroot(argv[1]) || chdir("/"))
		err(1, "%s", argv[1]);
	/* What is printed while programs are counted would disturb: all at the end. */
	uint64_t loop = million();
	for (int round = -WARM_UP; round < rounds; round++) {
		struct count count = start(argv + 4, null, mark);
		if (round >= 0)
			counts[round] = count;
	}
	printf("million %llu\n", (unsigned long long)loop);
	for (int round = 0; round < rounds; round++)
		printf("count %s %llu %llu\n", argv[3], (unsigned long long)counts[round].exit,
		       (unsigned long long)counts[round].main);
	return 0;
}
