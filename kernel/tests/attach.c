// SPDX-License-Identifier: GPL-2.0
/* Attaching and holding: what the calls promise. */
#include "lib.h"

static void version(void)
{
	struct morsel_version v;

	check(!ioctl(device(), MORSEL_VERSION, &v));
	check(v.abi == MORSEL_ABI_VERSION && v.flags == MORSEL_FLAGS);
	check(v.align == MORSEL_ALIGN);
	check(sizeof(struct morsel_region) == 48);
	check(sizeof(struct morsel_stat) == 72);
}

static void one_region(void)
{
	int fd = make_file("f", 5 * MIB, 1);
	struct morsel_region r = region(fd, 0, 5 * MIB, BASE);

	attach_expecting(&r, MORSEL_SHARED);
	check(r.error == 0 && r.reason == 0 && r.length == 6 * MIB);
	close(fd);
	check_pages(BASE, 0, 5 * MIB / PAGE, 1);
	check(totals().installed > 0);
}

static void read_only(void)
{
	int fd = make_file("f", 4 * MIB, 1);
	struct morsel_region r = region(fd, 0, 4 * MIB, BASE);

	r.prot = PROT_READ;
	attach_expecting(&r, MORSEL_SHARED);
	check_pages(BASE, 0, 1024, 1);
}

static void offset_of_any_page(void)
{
	int fd = make_file("f", 9 * MIB, 2);

	attach(fd, 7 * PAGE, 4 * MIB, BASE);
	check_pages(BASE, 7, 1024, 2);
}

static void code_runs(void)
{
	static const unsigned char code[] = { 0xb8, 42, 0, 0, 0, 0xc3 };
	int fd = make_file("f", 2 * MIB, 3), out = open("f", O_WRONLY);

	check(pwrite(out, code, sizeof(code), 5 * PAGE) == sizeof(code));
	close(out);
	attach(fd, 0, 2 * MIB, BASE);
	check(((int (*)(void))(BASE + 5 * PAGE))() == 42);
}

/* 300 regions in one call, as a program start has them. */
static void many_regions(void)
{
	enum { COUNT = 300 };
	static struct morsel_region r[COUNT + 1];
	int fd = make_file("f", 32 * MIB, 4);
	struct morsel_regions all = { (uintptr_t)r, COUNT + 1, 0, 0, 0 };

	for (int i = 0; i < COUNT; i++) {
		r[i] = region(fd, i % 16 * CHUNK, CHUNK, BASE + i * CHUNK);
		if (i % 3 == 0)
			r[i].prot = PROT_READ;
	}
	r[COUNT] = region(-1, 0, CHUNK, BASE - CHUNK);
	check(!ioctl(device(), MORSEL_ATTACH_MANY, &all));
	check(all.shared == COUNT && all.failed == 1);
	check(r[COUNT].state == MORSEL_FAILED && r[COUNT].error == -EBADF);
	for (int i = 0; i < COUNT; i++) {
		check(r[i].state == MORSEL_SHARED);
		check(page_is(BASE + i * CHUNK, i % 16 * 512, 4));
	}
	check(totals().mappings == COUNT && totals().morsels == 16 * 2);
}

static void touch_all(void *arg)
{
	int fd = *(int *)arg;
	long before;

	attach(fd, 0, 32 * MIB, BASE);
	before = minor_faults();
	for (unsigned long i = 0; i < 32 * MIB; i += PAGE)
		(void)*(volatile char *)(BASE + i);
	if (minor_faults() - before > 5)
		dprintf(1, "# %ld faults\n", minor_faults() - before);
	check(minor_faults() - before <= 5);
}

static void few_faults_and_tables(void)
{
	int fd = make_file("f", 32 * MIB, 5);
	long before;
	int go[2];

	check(in_child(touch_all, &fd) == 0);

	/* 20 processes that have it all mapped cost hardly any tables. */
	attach(fd, 0, 32 * MIB, BASE);
	check(pipe(go) == 0);
	before = number_in("/proc/meminfo", "PageTables:");
	for (int i = 0; i < 20; i++)
		if (!fork()) {
			check_pages(BASE, 0, 8192, 5);
			close(go[1]);
			char c;
			(void)!read(go[0], &c, 1);
			_exit(0);
		}
	sleep_ms(1500);
	/* Plainly each would have 64 kB more. */
	check(number_in("/proc/meminfo", "PageTables:") - before < 20 * 80);
	close(go[1]);
	while (wait(NULL) > 0)
		;
}

static void killed_by_sigbus(unsigned long addr)
{
	pid_t child = fork();
	int status;

	if (!child)
		_exit(*(volatile char *)addr);
	check(waitpid(child, &status, 0) == child);
	check(WIFSIGNALED(status) && WTERMSIG(status) == 7);
}

static void behind_the_end_is_sigbus(void)
{
	int fd = make_file("f", 3 * MIB + 100, 6);
	struct morsel_region r = region(fd, 0, 6 * MIB, BASE);

	attach_expecting(&r, MORSEL_SHARED);
	check_pages(BASE, 0, 769, 6);
	killed_by_sigbus(BASE + 3 * MIB + PAGE);
	killed_by_sigbus(BASE + 4 * MIB);
	munmap((void *)BASE, 6 * MIB);

	r = region(fd, 0, 4 * MIB, BASE);
	r.flags = MORSEL_HUGE;
	attach_expecting(&r, MORSEL_SHARED);
	check_pages(BASE, 0, 769, 6);
	killed_by_sigbus(BASE + 3 * MIB + PAGE);
}

static void replaces_a_reservation(void)
{
	int fd = make_file("f", 4 * MIB, 7);
	struct morsel_region r = region(fd, 0, 4 * MIB, BASE + CHUNK);

	check(mmap((void *)BASE, 8 * MIB, PROT_NONE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
	      (void *)BASE);
	attach_expecting(&r, MORSEL_FAILED);
	check(r.error == -EEXIST);
	r.flags = MORSEL_REPLACE;
	attach_expecting(&r, MORSEL_SHARED);
	check_pages(BASE + CHUNK, 0, 1024, 7);
	/* Around it the reservation is still there. */
	check(mprotect((void *)BASE, CHUNK, PROT_READ | PROT_WRITE) == 0);
	check(*(volatile char *)BASE == 0);
}

static void replaces_a_mapping_of_the_file(void)
{
	int fd = make_file("f", 4 * MIB, 8);
	struct morsel_region r = region(fd, 0, 4 * MIB, BASE);

	r.flags = MORSEL_REPLACE;
	check(mmap((void *)BASE, 4 * MIB, PROT_READ, MAP_PRIVATE | MAP_FIXED,
		   fd, 0) == (void *)BASE);
	check_pages(BASE, 0, 10, 8);
	attach_expecting(&r, MORSEL_SHARED);
	check_pages(BASE, 0, 1024, 8);
}

static void replaces_nothing_of_value(void)
{
	int fd = make_file("f", 4 * MIB, 8);
	struct morsel_region r = region(fd, 0, 4 * MIB, BASE);
	void *at = (void *)BASE;

	r.flags = MORSEL_REPLACE;
	check(mmap(at, 4 * MIB, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) == at);
	attach_expecting(&r, MORSEL_FAILED);
	check(r.error == -EEXIST);

	check(mmap(at, 4 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED,
		   fd, 0) == at);
	*(char *)(BASE + MIB) = 9;
	attach_expecting(&r, MORSEL_FAILED);
	check(r.error == -EEXIST);
	check(*(char *)(BASE + MIB) == 9);

	munmap(at, 4 * MIB);
	check(mmap(at, 4 * MIB, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == at);
	*(char *)(BASE + 3 * MIB) = 9;
	attach_expecting(&r, MORSEL_FAILED);
	check(r.error == -EEXIST);
	check(*(char *)(BASE + 3 * MIB) == 9);
}

static void populate(void)
{
	int fd = make_file("f", 8 * MIB, 9);
	struct morsel_region r = region(fd, 0, 8 * MIB, BASE);
	long before;

	r.flags = MORSEL_POPULATE;
	attach_expecting(&r, MORSEL_SHARED);
	before = minor_faults();
	check_pages(BASE, 0, 2048, 9);
	check(minor_faults() - before <= 2);
}

static void huge(void)
{
	int fd = make_file("f", 9 * MIB, 10);
	struct morsel_region r = region(fd, 0, 9 * MIB, BASE);

	r.flags = MORSEL_HUGE;
	attach_expecting(&r, MORSEL_SHARED);
	check_pages(BASE, 0, 9 * 256, 10);
	check(totals().huge + totals().tables == 5);
	check(totals().huge > 0);
	/* The kernel's other readers of a huge entry. */
	check(number_in("/proc/self/smaps_rollup", "Rss:") > 0);
	check(munmap((void *)(BASE + MIB), PAGE) == 0);
	check(page_is(BASE + MIB + PAGE, 257, 10) && page_is(BASE, 0, 10));
	check(mprotect((void *)(BASE + 5 * MIB), PAGE, PROT_READ) == 0);
	check_pages(BASE + 4 * MIB, 1024, 5 * 256, 10);
	check(madvise((void *)(BASE + 2 * MIB), PAGE, MADV_DONTNEED) == 0);
	check_pages(BASE + 2 * MIB, 512, 512, 10);
	if (!fork()) {
		check_pages(BASE + 2 * MIB, 512, 7 * 256, 10);
		_exit(0);
	}
	int status;

	check(wait(&status) > 0 && status == 0);
}

/* As a loader that does not want to fill anything. */
static unsigned int attach_ready(int fd, unsigned long length,
				 unsigned int state)
{
	struct morsel_region r = region(fd, 0, length, BASE);

	check(mmap((void *)BASE, length, RX, MAP_PRIVATE | MAP_FIXED, fd, 0) ==
	      (void *)BASE);
	check(page_is(BASE, 0, 13));
	r.flags = MORSEL_REPLACE | MORSEL_READY;
	attach_expecting(&r, state);
	check(r.error == 0);
	check_pages(BASE, 0, length / PAGE, 13);
	return r.reason;
}

static bool is_mapped(unsigned long addr)
{
	return !msync((void *)addr, PAGE, MS_ASYNC);
}

static void ready(void)
{
	int fd = make_file("f", 6 * MIB, 13), held;
	struct morsel_region r = region(fd, 0, 6 * MIB, 0);
	unsigned long built = totals().built;

	/* Nobody has it: nothing changes, and nothing is filled. */
	check(attach_ready(fd, 6 * MIB, MORSEL_PLAIN) == MORSEL_WHY_NOT_READY);
	check(totals().built == built && totals().morsels == 0);
	close(open("f", O_WRONLY));
	check(mprotect((void *)BASE, PAGE, PROT_READ | PROT_WRITE) == 0);
	munmap((void *)BASE, 6 * MIB);

	held = ioctl(device(), MORSEL_HOLD, &r);
	check(held >= 0);
	check(attach_ready(fd, 6 * MIB, MORSEL_SHARED) == 0);
	check(totals().built == built + 1 && totals().mappings == 1);
	munmap((void *)BASE, 6 * MIB);

	/* Only just this region. */
	check(attach_ready(fd, 4 * MIB, MORSEL_PLAIN) == MORSEL_WHY_NOT_READY);
	munmap((void *)BASE, 6 * MIB);
	r = region(fd, 0, 6 * MIB, BASE);
	r.flags = MORSEL_REPLACE | MORSEL_READY;
	r.prot = PROT_READ;
	check(attach_expecting(&r, MORSEL_PLAIN) == MORSEL_WHY_NOT_READY);
	r.prot = RX;
	r.flags |= MORSEL_HUGE;
	check(attach_expecting(&r, MORSEL_PLAIN) == MORSEL_WHY_NOT_READY);

	/* Nothing but a question. */
	r.flags = MORSEL_READY;
	r.addr = BASE + 64 * MIB;
	check(attach_expecting(&r, MORSEL_SHARED) == 0);
	check(!is_mapped(BASE + 64 * MIB) && totals().mappings == 0);
	r.prot = PROT_READ;
	check(attach_expecting(&r, MORSEL_PLAIN) == MORSEL_WHY_NOT_READY);
	check(!is_mapped(BASE + 64 * MIB));
	r.prot = RX;
	r.addr = 0;
	check(ioctl(device(), MORSEL_HOLD, &r) < 0 && errno == EINVAL);

	/* It was only held, and memory was short. */
	write_file("/proc/sys/vm/drop_caches", "2");
	for (int i = 0; i < 100 && totals().pinned; i++)
		sleep_ms(50);
	check(totals().pinned == 0);
	built = totals().built;
	check(attach_ready(fd, 6 * MIB, MORSEL_PLAIN) == MORSEL_WHY_NOT_READY);
	check(totals().built == built);
	close(held);

	/* For any other reason it stays, too. */
	write_file("/sys/module/morsel/parameters/enabled", "N");
	check(attach_ready(fd, 6 * MIB, MORSEL_PLAIN) == MORSEL_WHY_DISABLED);
	write_file("/sys/module/morsel/parameters/enabled", "Y");
}

/* What the caller has mapped itself, with a page more on both sides. */
static void *map_around(int fd, unsigned long length, int flags)
{
	void *start = mmap((void *)(BASE - PAGE), length + 2 * PAGE, RX,
			   flags | MAP_FIXED, fd, 0);

	check(start == (void *)(BASE - PAGE));
	return start;
}

static void adopts_a_mapping(void)
{
	int fd = make_file("f", 6 * MIB + 2 * PAGE, 14), other;
	struct morsel_region r = region(fd, PAGE, 6 * MIB, BASE);
	unsigned long installed = totals().installed;

	map_around(fd, 6 * MIB, MAP_SHARED);
	check(page_is(BASE, 1, 14));
	r.flags = MORSEL_ADOPT;
	check(attach_expecting(&r, MORSEL_SHARED) == 0);
	check(totals().mappings == 1 && totals().tables == 3);
	check_pages(BASE - PAGE, 0, 6 * 256 + 2, 14);
	/* The first had been read, and has a private table. */
	check(totals().installed == installed + 2);
	/* Once only: it is not the caller's any more. */
	attach_expecting(&r, MORSEL_FAILED);
	check(r.error == -EEXIST && totals().mappings == 1);
	munmap((void *)(BASE - PAGE), 6 * MIB + 2 * PAGE);
	check(totals().morsels == 0);

	/* Nobody has filled it: a private mapping is left. */
	map_around(fd, 6 * MIB, MAP_SHARED);
	r.flags = MORSEL_ADOPT | MORSEL_READY;
	check(attach_expecting(&r, MORSEL_PLAIN) == MORSEL_WHY_NOT_READY);
	check(mprotect((void *)(BASE - PAGE), 3 * PAGE,
		       PROT_READ | PROT_WRITE) == 0);
	*(volatile char *)BASE = 1;
	munmap((void *)(BASE - PAGE), 6 * MIB + 2 * PAGE);

	/* Not where it is something else. */
	r.flags = MORSEL_ADOPT;
	attach_expecting(&r, MORSEL_FAILED);
	check(r.error == -EEXIST);
	map_around(fd, 6 * MIB, MAP_PRIVATE);
	attach_expecting(&r, MORSEL_FAILED);
	map_around(fd, 6 * MIB - CHUNK, MAP_SHARED);
	munmap((void *)(BASE + 6 * MIB - CHUNK + PAGE), CHUNK);
	attach_expecting(&r, MORSEL_FAILED);
	map_around(fd, 6 * MIB, MAP_SHARED);
	r.offset = 0;
	attach_expecting(&r, MORSEL_FAILED);
	r.offset = PAGE;
	r.flags |= MORSEL_REPLACE;
	attach_expecting(&r, MORSEL_FAILED);
	check(r.error == -EINVAL);

	/* Nor of a file whose rights were not looked at. */
	other = make_file("g", 6 * MIB + 2 * PAGE, 15);
	r.fd = other;
	r.flags = MORSEL_ADOPT;
	check(attach_expecting(&r, MORSEL_PLAIN) == MORSEL_WHY_MAPPING);
	check(totals().mappings == 0 && totals().morsels == 0);
}

/* Pays for sharing only after some faults; what they touched stays private. */
static void lazy(void)
{
	enum { PATIENCE = 4, TABLES = 8 };
	int fd = make_file("f", TABLES * CHUNK, 16), status;
	struct morsel_region r = region(fd, 0, TABLES * CHUNK, BASE);
	unsigned long installed = totals().installed;

	r.flags = MORSEL_LAZY;
	attach_expecting(&r, MORSEL_SHARED);
	for (int i = 0; i < PATIENCE; i++)
		check(page_is(BASE + i * CHUNK, i * 512, 16));
	check(totals().installed == installed && totals().mappings == 1);
	check(page_is(BASE + PATIENCE * CHUNK, PATIENCE * 512, 16));
	check(totals().installed == installed + TABLES - PATIENCE);
	check_pages(BASE, 0, TABLES * 512, 16);

	/* A child shares at once, and all of it. */
	installed = totals().installed;
	if (!fork()) {
		check_pages(BASE, 0, TABLES * 512, 16);
		check(totals().installed == installed + TABLES);
		_exit(0);
	}
	check(wait(&status) > 0 && status == 0);
	munmap((void *)BASE, TABLES * CHUNK);

	/* So does who has attached anything without being lazy. */
	r = region(fd, 0, TABLES * CHUNK, BASE);
	r.flags = MORSEL_LAZY;
	attach_expecting(&r, MORSEL_SHARED);
	attach(fd, 0, TABLES * CHUNK, BASE + TABLES * CHUNK);
	installed = totals().installed;
	check(page_is(BASE, 0, 16));
	check(totals().installed == installed + TABLES);
}

static void hold(void)
{
	int fd = make_file("f", 6 * MIB, 11);
	struct morsel_region r = region(fd, 0, 5 * MIB, 0);
	struct morsel_stat s;
	struct stat st;
	int held = ioctl(device(), MORSEL_HOLD, &r);
	unsigned long built = totals().built;

	check(held >= 0 && r.length == 6 * MIB);
	check(fcntl(held, F_GETFD) == FD_CLOEXEC);
	for (int i = 0; i < 3; i++) {
		attach(fd, 0, 5 * MIB, BASE);
		check_pages(BASE, 0, 1536, 11);
		munmap((void *)BASE, 6 * MIB);
	}
	check(totals().built == built && totals().morsels == 1);
	check(open("f", O_WRONLY) < 0 && errno == ETXTBSY);

	attach(fd, 0, 5 * MIB, BASE);
	check(!ioctl(held, MORSEL_STAT, &s));
	fstat(fd, &st);
	check(s.inode == st.st_ino && s.device == st.st_dev);
	check(s.mappings == 1 && s.tables == 3 && s.huge == 0);
	check(s.resident == 6 * MIB && s.length == 6 * MIB && s.prot == RX);
	close(held);
	check(totals().morsels == 1);
}

static void walks_all_morsels(void)
{
	struct morsel_stat s = { .id = 0 };
	unsigned int seen = 0;
	int fd = make_file("f", 6 * MIB, 12);

	for (int i = 0; i < 3; i++)
		attach(fd, i * CHUNK, CHUNK, BASE + i * CHUNK);
	while (!ioctl(device(), MORSEL_STAT_NEXT, &s)) {
		check(s.offset == seen * CHUNK && s.mappings == 1);
		seen++;
	}
	check(errno == ENOENT && seen == 3);
	check(setuid(1000) == 0);
	s.id = 0;
	check(ioctl(device(), MORSEL_STAT_NEXT, &s) < 0 && errno == EPERM);
}

const struct test attach_tests[] = {
	{ "version and sizes", version, 0 },
	{ "one region", one_region, 0 },
	{ "read only", read_only, 0 },
	{ "an offset of any page", offset_of_any_page, 0 },
	{ "code runs", code_runs, 0 },
	{ "300 regions in a call", many_regions, 0 },
	{ "few faults, few tables", few_faults_and_tables, 0 },
	{ "behind the end is SIGBUS", behind_the_end_is_sigbus, 0 },
	{ "a reservation is replaced", replaces_a_reservation, 0 },
	{ "a mapping of the file is replaced", replaces_a_mapping_of_the_file, 0 },
	{ "nothing of value is replaced", replaces_nothing_of_value, 0 },
	{ "populate", populate, 0 },
	{ "huge", huge, 0 },
	{ "only what is ready", ready, 0 },
	{ "the caller's own mapping", adopts_a_mapping, 0 },
	{ "the lazy", lazy, 0 },
	{ "hold", hold, 0 },
	{ "all morsels are listed", walks_all_morsels, 0 },
	{ 0 },
};
