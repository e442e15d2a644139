// SPDX-License-Identifier: GPL-2.0
/* What processes do to their mappings and the kernel's ways to look at them. */
#include <fcntl.h>
#include <pthread.h>
#include <sys/uio.h>

#include "lib.h"

#define SIZE (8 * MIB)
#define PAGES (SIZE / PAGE)

static int attached(uint32_t seed)
{
	int fd = make_file("f", SIZE, seed);

	attach(fd, 0, SIZE, BASE);
	check_pages(BASE, 0, PAGES, seed);
	return fd;
}

static void fork_nested(int depth)
{
	check_pages(BASE, 0, PAGES, 20);
	if (depth) {
		pid_t child = fork();

		if (!child) {
			fork_nested(depth - 1);
			_exit(0);
		}
		wait_for(child);
	}
	check_pages(BASE, 0, PAGES, 20);
}

static void forks(void)
{
	attached(20);
	fork_nested(5);
	for (int i = 0; i < 16; i++)
		if (!fork()) {
			fork_nested(1);
			_exit(0);
		}
	for (int i = 0; i < 16; i++) {
		int status;

		check(wait(&status) > 0 && status == 0);
	}
	/* A child that never touches it, and one that only unmaps it. */
	pid_t child = fork();

	if (!child)
		_exit(munmap((void *)BASE, SIZE));
	wait_for(child);
	check_pages(BASE, 0, PAGES, 20);
}

static void unmapping(void)
{
	int fd = attached(21);

	check(munmap((void *)(BASE + 2 * MIB), 2 * MIB) == 0);
	check(munmap((void *)(BASE + 5 * MIB), PAGE) == 0);
	check_pages(BASE, 0, 512, 21);
	check_pages(BASE + 4 * MIB, 1024, 256, 21);
	check_pages(BASE + 5 * MIB + PAGE, 1281, 767, 21);
	/* Something else comes into the holes. */
	char *a = mmap((void *)(BASE + 2 * MIB), 2 * MIB, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	memset(a, 1, 2 * MIB);
	a = mmap((void *)(BASE + 7 * MIB + 3 * PAGE), PAGE,
		 PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
		 -1, 0);
	*a = 5;
	check_pages(BASE, 0, 512, 21);
	check_pages(BASE + 6 * MIB, 1536, 259, 21);
	check(munmap((void *)BASE, SIZE) == 0);
	attach(fd, 0, SIZE, BASE);
	check_pages(BASE, 0, PAGES, 21);
}

static void protections(void)
{
	attached(22);
	check(mprotect((void *)BASE, SIZE, PROT_READ | PROT_WRITE) < 0);
	check(errno == EACCES);
	check(mprotect((void *)BASE, SIZE, PROT_NONE) == 0);
	check(process_vm_readv(getpid(),
			       &(struct iovec) { &(long) { 0 }, 8 }, 1,
			       &(struct iovec) { (void *)BASE, 8 }, 1, 0) < 0);
	check(mprotect((void *)BASE, SIZE, PROT_READ) == 0);
	check_pages(BASE, 0, PAGES, 22);
	check(mprotect((void *)BASE, SIZE, RX) == 0);
	check_pages(BASE, 0, PAGES, 22);
	check(mprotect((void *)(BASE + MIB), PAGE, PROT_READ) == 0);
	check_pages(BASE, 0, PAGES, 22);
	check(mprotect((void *)(BASE + MIB), PAGE, RX) == 0);
	check_pages(BASE, 0, PAGES, 22);
}

static void moving(void)
{
	void *to = (void *)(BASE + 64 * MIB);

	attached(23);
	check(mremap((void *)BASE, SIZE, 2 * SIZE, MREMAP_MAYMOVE) == MAP_FAILED);
	check(mremap((void *)BASE, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED,
		     to) == to);
	check_pages((unsigned long)to, 0, PAGES, 23);
	/* To a place where no table fits, and a part of it back. */
	check(mremap(to, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED,
		     (void *)(BASE + 3 * PAGE)) == (void *)(BASE + 3 * PAGE));
	check_pages(BASE + 3 * PAGE, 0, PAGES, 23);
	check(mremap((void *)(BASE + 3 * PAGE + 4 * MIB), 4 * MIB, 4 * MIB,
		     MREMAP_MAYMOVE | MREMAP_FIXED, to) == to);
	check_pages((unsigned long)to, 1024, 1024, 23);
	check(mremap(to, 4 * MIB, 2 * MIB, 0) == to);
	check_pages((unsigned long)to, 1024, 512, 23);
}

static void advice(void)
{
	static const int advices[] = {
		MADV_DONTNEED, MADV_WILLNEED, MADV_RANDOM, MADV_COLD,
		MADV_PAGEOUT, MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_MERGEABLE,
		22 /* POPULATE_READ */, 25 /* COLLAPSE */, MADV_DONTNEED,
		MADV_SEQUENTIAL, MADV_NORMAL, MADV_FREE, MADV_REMOVE,
	};

	attached(24);
	/* Others that have the file mapped plainly, so that it is reclaimed. */
	int fd = open("f", O_RDONLY);
	char *plain = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);

	for (size_t i = 0; i < sizeof(advices) / sizeof(*advices); i++) {
		check_pages((unsigned long)plain, 0, PAGES, 24);
		madvise((void *)BASE, SIZE, advices[i]);
		check_pages(BASE, 0, PAGES, 24);
		madvise((void *)(BASE + 3 * MIB), 3 * PAGE, advices[i]);
		check_pages(BASE, 0, PAGES, 24);
		madvise(plain, SIZE, advices[i]);
		check_pages(BASE, 0, PAGES, 24);
	}
	check(mlock((void *)BASE, SIZE) == 0 && munlock((void *)BASE, SIZE) == 0);
	check_pages(BASE, 0, PAGES, 24);
}

static void looked_at(void)
{
	unsigned char resident[PAGES];
	uint64_t *map = malloc(PAGES * 8);
	int fd = attached(25), pipes[2];
	struct iovec here, there = { (void *)(BASE + 5 * PAGE), 2 * PAGE };
	char line[512];
	uint32_t *copy = malloc(2 * PAGE);
	bool found = false;

	FILE *maps = fopen("/proc/self/smaps", "r");

	while (fgets(line, sizeof(line), maps))
		if (!strncmp(line, "100000000000-", 13)) {
			check(strstr(line, "r-xs"));
			found = true;
		} else if (found && sscanf(line, "Rss: %*d") == 0 &&
			   !strncmp(line, "Rss:", 4)) {
			check(atol(line + 4) == SIZE / 1024);
			break;
		}
	fclose(maps);
	check(found);

	int pagemap = open("/proc/self/pagemap", O_RDONLY);

	check(pread(pagemap, map, PAGES * 8, BASE / PAGE * 8) == PAGES * 8);
	for (size_t i = 0; i < PAGES; i++)
		check(map[i] >> 63 && !(map[i] >> 62 & 1));
	check(mincore((void *)BASE, SIZE, resident) == 0);
	for (size_t i = 0; i < PAGES; i++)
		check(resident[i] & 1);

	here = (struct iovec) { copy, 2 * PAGE };
	check(process_vm_readv(getpid(), &here, 1, &there, 1, 0) == 2 * PAGE);
	check(copy[0] == 5 && copy[PAGE / 4] == 6);
	check(process_vm_writev(getpid(), &here, 1, &there, 1, 0) < 0);

	check(pipe(pipes) == 0);
	check(vmsplice(pipes[1], &there, 1, 0) == 2 * PAGE);
	munmap((void *)BASE, SIZE);
	check(read(pipes[0], copy, PAGE) == PAGE && copy[0] == 5);
	attach(fd, 0, SIZE, BASE);

	int direct = open("direct", O_RDWR | O_CREAT | O_TRUNC | O_DIRECT, 0644);

	if (direct >= 0) {
		check(write(direct, (void *)(BASE + PAGE), PAGE) == PAGE);
		check(pread(direct, (void *)BASE, PAGE, 0) < 0);
	}
	for (const char *how = "12345"; *how; how++)
		write_file("/proc/self/clear_refs", (char[]) { *how, 0 });
	check_pages(BASE, 0, PAGES, 25);
}

static void locked_memory_is_plain(void)
{
	int fd = make_file("f", SIZE, 26);

	check(mlockall(MCL_FUTURE) == 0);
	attach_plain(fd, SIZE, BASE, MORSEL_WHY_MAPPING);
	check_pages(BASE, 0, PAGES, 26);
}

static void plain_is_private(void)
{
	int fd = make_file("f", SIZE, 27);

	check(mlockall(MCL_FUTURE) == 0);
	attach_plain(fd, SIZE, BASE, MORSEL_WHY_MAPPING);
	check(munlockall() == 0);
	check(mprotect((void *)BASE, SIZE, PROT_READ | PROT_WRITE) == 0);
	*(volatile char *)(BASE + 5) = 1;
	check_pages(BASE + PAGE, 1, PAGES - 1, 27);
}

static volatile bool stop;

static void *reader(void *arg)
{
	(void)arg;
	while (!stop)
		check_pages(BASE, 0, PAGES, 28);
	return NULL;
}

static void *dropper(void *arg)
{
	while (!stop)
		madvise((void *)(BASE + (long)arg * PAGE), 3 * MIB,
			MADV_DONTNEED);
	return NULL;
}

/* Threads that read, drop and fork in one address space, and a bystander. */
static void races(void)
{
	pthread_t threads[6];

	attached(28);
	for (long i = 0; i < 6; i++)
		check(!pthread_create(&threads[i], NULL,
				      i < 3 ? reader : dropper,
				      (void *)(i * 77)));
	for (int i = 0; i < 40; i++) {
		pid_t child = fork();

		if (!child) {
			check_pages(BASE, 0, PAGES, 28);
			_exit(0);
		}
		if (i % 2)
			kill(child, 9);
		waitpid(child, NULL, 0);
		check(mprotect((void *)(BASE + 6 * MIB), MIB,
			       i % 2 ? PROT_READ : RX) == 0);
		sleep_ms(100);
	}
	stop = true;
	for (int i = 0; i < 6; i++)
		pthread_join(threads[i], NULL);
	check_pages(BASE, 0, PAGES, 28);
}

const struct test process_tests[] = {
	{ "forks", forks, 0 },
	{ "unmapping", unmapping, 0 },
	{ "protections", protections, 0 },
	{ "moving", moving, 0 },
	{ "advice", advice, 0 },
	{ "looked at by the kernel", looked_at, 0 },
	{ "locked memory is plain", locked_memory_is_plain, 0 },
	{ "plain is private", plain_is_private, 0 },
	{ "races", races, 0 },
	{ 0 },
};
