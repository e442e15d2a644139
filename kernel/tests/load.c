// SPDX-License-Identifier: GPL-2.0
/* Many processes, many times, all at once. */
#include <signal.h>
#include <sys/syscall.h>

#include "lib.h"

#define SIZE (8 * MIB)
#define PAGES (SIZE / PAGE)

static void processes_500(void)
{
	enum { COUNT = 500 };
	static pid_t child[COUNT];
	int fd = make_file("f", SIZE, 60), ready[2], go[2];
	struct morsel_region r = region(fd, 0, SIZE, 0);
	int held = ioctl(device(), MORSEL_HOLD, &r), status;
	char c;

	check(held >= 0 && pipe(ready) == 0 && pipe(go) == 0);
	for (int i = 0; i < COUNT; i++) {
		child[i] = fork();
		check(child[i] >= 0);
		if (child[i])
			continue;
		close(go[1]);
		attach(fd, 0, SIZE, BASE);
		for (int k = i % 8; k < (int)PAGES; k += 64)
			check(page_is(BASE + k * PAGE, k, 60));
		check(write(ready[1], "x", 1) == 1);
		(void)!read(go[0], &c, 1);
		_exit(0);
	}
	for (int i = 0; i < COUNT; i++)
		check(read(ready[0], &c, 1) == 1);
	struct morsel_totals t = totals();

	check(t.mappings == COUNT && t.processes == COUNT && t.morsels == 1);
	check(t.tables == 4);
	for (int i = 0; i < COUNT; i += 5)
		kill(child[i], SIGKILL);
	close(go[1]);
	for (int i = 0; i < COUNT; i++) {
		check(waitpid(child[i], &status, 0) == child[i]);
		check(i % 5 ? status == 0 : true);
	}
}

/* KASAN keeps freed slab objects back, as many as a 32nd of all memory. */
static bool keeps_slab_objects(void)
{
	static int known = -1;
	char line[512];
	FILE *symbols;

	if (known < 0) {
		known = 0;
		symbols = fopen("/proc/kallsyms", "r");
		while (symbols && !known && fgets(line, sizeof(line), symbols))
			known = strstr(line, " kasan_quarantine_put") != NULL;
		if (symbols)
			fclose(symbols);
	}
	return known;
}

/* In kB: what the kernel cannot get rid of. */
static long kernel_memory(void)
{
	long slab = number_in("/proc/meminfo", "SUnreclaim:");

	return (keeps_slab_objects() ? 0 : slab) +
	       number_in("/proc/meminfo", "PageTables:") +
	       number_in("/proc/meminfo", "VmallocUsed:") +
	       number_in("/proc/meminfo", "KernelStack:");
}

static void cycle(int fd, int i)
{
	pid_t child = vfork();

	check(child >= 0);
	if (!child)
		_exit(0);
	wait_for(child);
	child = fork();
	if (!child) {
		attach(fd, i % 3 * CHUNK, SIZE - i % 3 * CHUNK, BASE);
		check(page_is(BASE + 5 * PAGE, i % 3 * 512 + 5, 61));
		_exit(0);
	}
	wait_for(child);
}

static void cycles_2000(void)
{
	int fd = make_file("f", SIZE, 61);
	long before, after;

	for (int i = 0; i < 300; i++)
		cycle(fd, i);
	sleep_ms(500);
	before = kernel_memory();
	for (int i = 0; i < 2000; i++)
		cycle(fd, i);
	for (int i = 0; i < 20; i++) {
		sleep_ms(200);
		after = kernel_memory();
		if (after - before < 2000)
			break;
	}
	/* One leaked table a cycle would be 8000. */
	dprintf(1, "# 2000 cycles: %ld kB\n", after - before);
	check(after - before < 2000);
	check(totals().morsels == 0);
}

static void concurrent_first_attach(void)
{
	enum { COUNT = 64 };

	for (int round = 0; round < 4; round++) {
		int fd = make_file("f", SIZE, 62 + round), go[2], status;
		unsigned long built = totals().built;

		/* Cold, so that the first has to wait for the disk. */
		fsync(fd);
		posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
		check(pipe(go) == 0);
		for (int i = 0; i < COUNT; i++)
			if (!fork()) {
				char c;

				close(go[1]);
				(void)!read(go[0], &c, 1);
				attach(fd, 0, SIZE, BASE);
				check_pages(BASE, 0, PAGES, 62 + round);
				sleep_ms(300);
				_exit(0);
			}
		close(go[1]);
		if (round == 3)
			/* And some die while they wait or fill. */
			for (int i = 0; i < 20; i++) {
				sleep_ms(1);
				kill(getpid() + 1 + i + round * COUNT, 9);
			}
		for (int i = 0; i < COUNT; i++) {
			check(wait(&status) > 0);
			check(status == 0 || (round == 3 && WIFSIGNALED(status)));
		}
		if (round < 3)
			check(totals().built - built < COUNT / 4);
		close(fd);
		close(go[0]);
	}
}

/* A fill that takes long neither holds up another nor who is killed. */
static void a_long_fill(void)
{
	enum { LONG = 256 * MIB };
	int fd = make_file("f", CHUNK, 68), out, status, tries = 0;
	unsigned long built = totals().built;
	pid_t filling, waiting;

	/* All of it is a hole. */
	out = open("long", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	check(ftruncate(out, LONG) == 0);
	close(out);
	filling = fork();
	if (!filling) {
		attach(open("long", O_RDONLY), 0, LONG, BASE);
		_exit(0);
	}
	/* It has begun when nobody can write any more. */
	while ((out = open("long", O_WRONLY)) >= 0) {
		close(out);
		sleep_ms(1);
		check(tries++ < 10000);
	}
	check(errno == ETXTBSY);
	waiting = fork();
	if (!waiting) {
		attach(open("long", O_RDONLY), 0, LONG, BASE);
		_exit(0);
	}
	attach(fd, 0, CHUNK, BASE);
	check_pages(BASE, 0, 512, 68);
	sleep_ms(5);
	kill(waiting, SIGKILL);
	check(waitpid(waiting, &status, 0) == waiting);
	check(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	kill(filling, SIGKILL);
	check(waitpid(filling, &status, 0) == filling);
	check(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	/* The long one has not come to its end. */
	check(totals().built == built + 1);
	check(unlink("long") == 0);
}

/* Morsels come and go, and others take only what is there. */
static void ready_or_not(void)
{
	enum { FILLING = 4, TAKING = 12, TIMES = 40 };
	int fd = make_file("f", SIZE, 69), status;

	for (int i = 0; i < FILLING + TAKING; i++) {
		if (fork())
			continue;
		for (int k = 0; k < TIMES; k++) {
			struct morsel_region r = region(fd, 0, SIZE, BASE);

			bool adopt = i % 2;

			r.flags = adopt ? MORSEL_ADOPT : MORSEL_REPLACE;
			if (i >= FILLING)
				r.flags |= MORSEL_READY;
			if (i % 4 == 1)
				r.flags |= MORSEL_LAZY;
			check(mmap((void *)BASE, SIZE, RX,
				   (adopt ? MAP_SHARED : MAP_PRIVATE) |
					   MAP_FIXED, fd, 0) == (void *)BASE);
			ioctl(device(), MORSEL_ATTACH, &r);
			check(r.state == MORSEL_SHARED ||
			      (i >= FILLING && r.state == MORSEL_PLAIN &&
			       r.reason == MORSEL_WHY_NOT_READY));
			check_pages(BASE, 0, PAGES, 69);
			check(munmap((void *)BASE, SIZE) == 0);
			sleep_ms((i * 7 + k) % 5);
		}
		_exit(0);
	}
	for (int i = 0; i < FILLING + TAKING; i++)
		check(wait(&status) > 0 && status == 0);
	check(totals().shared > FILLING * TIMES);
}

/* The kernel's own caretakers at work beside running processes. */
static void caretakers(void)
{
	int fd = make_file("f", SIZE, 70), status;
	enum { COUNT = 4 };
	pid_t child[COUNT];

	for (int i = 0; i < COUNT; i++) {
		child[i] = fork();
		if (!child[i]) {
			void *plain = mmap(NULL, SIZE, PROT_READ, MAP_SHARED,
					   fd, 0);

			attach(fd, 0, SIZE, BASE);
			for (;;) {
				check_pages(BASE, 0, PAGES, 70);
				check_pages((unsigned long)plain, 0, PAGES, 70);
				/* Each page costs everybody a flush. */
				if (i == 0)
					madvise(plain, MIB, MADV_PAGEOUT);
				sleep_ms(1);
			}
		}
	}
	for (int i = 0; i < 20; i++) {
		write_file("/proc/sys/vm/drop_caches", "1");
		/* Tries each pinned page ten times: slow in an emulator. */
		if (i % 10 == 0 &&
		    access("/proc/sys/vm/compact_memory", W_OK) == 0)
			write_file("/proc/sys/vm/compact_memory", "1");
		posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
		sleep_ms(100);
	}
	for (int i = 0; i < COUNT; i++) {
		kill(child[i], SIGKILL);
		check(waitpid(child[i], &status, 0) == child[i]);
		check(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	}
}

static void module_stays(void)
{
	int fd = make_file("f", SIZE, 71);
	pid_t child;

	attach(fd, 0, SIZE, BASE);
	/* From a process without the device. */
	child = fork();
	if (!child) {
		close(device());
		long result = syscall(SYS_delete_module, "morsel", O_NONBLOCK);

		/* ENOENT, ENOSYS: it is built in. */
		check(result < 0 && (errno == EAGAIN || errno == EWOULDBLOCK ||
				     errno == EBUSY || errno == ENOENT ||
				     errno == ENOSYS));
		_exit(0);
	}
	wait_for(child);
	check_pages(BASE, 0, PAGES, 71);
}

const struct test load_tests[] = {
	{ "500 processes", processes_500, 120 },
	{ "2000 cycles", cycles_2000, 600 },
	{ "concurrent first attach", concurrent_first_attach, 120 },
	{ "a long fill", a_long_fill, 0 },
	{ "ready or not", ready_or_not, 120 },
	{ "caretakers", caretakers, 300 },
	{ "the module stays while it is used", module_stays, 0 },
	{ 0 },
};
