// SPDX-License-Identifier: GPL-2.0
/* Without memory: nothing is lost, and what can be given back is. */
#include <signal.h>
#include <sys/mount.h>

#include "lib.h"

#define SIZE (8 * MIB)
#define PAGES (SIZE / PAGE)

static void fail_after(unsigned int n)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", n);
	write_file("/sys/module/morsel/parameters/fail_after", text);
}

/* Every place where an allocation or a read can fail, one after the other. */
static void each_allocation_fails(void)
{
	int fd = make_file("f", SIZE, 90);
	unsigned long installed;
	unsigned int n = 1;
	struct morsel_region r;

	for (;; n += n < 20 ? 1 : 97) {
		r = region(fd, 0, SIZE, BASE);
		fail_after(n);
		ioctl(device(), MORSEL_ATTACH, &r);
		check(r.state != MORSEL_FAILED);
		check(r.state == MORSEL_SHARED || r.reason == MORSEL_WHY_MEMORY);
		check_pages(BASE, 0, PAGES, 90);
		check(munmap((void *)BASE, SIZE) == 0);
		if (r.state == MORSEL_SHARED)
			break;
		/* Nobody is kept out after a failure. */
		close(open("f", O_WRONLY));
	}
	fail_after(0);
	check(n > PAGES);

	/* Who cannot listen to the address space at the first access has it plainly. */
	attach(fd, 0, SIZE, BASE);
	installed = totals().installed;
	fail_after(1);
	check_pages(BASE, 0, PAGES, 90);
	check(totals().mappings == 0 && totals().installed == installed);
	check(munmap((void *)BASE, SIZE) == 0);

	/* A copy falls back to small pages. */
	r = region(fd, 0, SIZE, BASE);
	r.flags = MORSEL_HUGE;
	fail_after(700);
	attach_expecting(&r, MORSEL_SHARED);
	fail_after(0);
	check_pages(BASE, 0, PAGES, 90);
}

/* A group that may have 32 MiB; false if there are no such groups. */
static bool small_group(void)
{
	char text[32];

	mkdir("cgroup", 0755);
	if (mount("cgroup2", "cgroup", "cgroup2", 0, NULL))
		return false;
	int fd = open("cgroup/cgroup.subtree_control", O_WRONLY);

	if (write(fd, "+memory", 7) != 7)
		return false;
	close(fd);
	mkdir("cgroup/small", 0755);
	write_file("cgroup/small/memory.max", "33554432");
	snprintf(text, sizeof(text), "%d", getpid());
	write_file("cgroup/small/cgroup.procs", text);
	return true;
}

/*
 * How many MiB a process can write to in a group that may have 32 MiB, where
 * 16 MiB of a file are mapped: by mmap, or shared and filled by the group, or
 * shared and held from outside.
 */
enum have { MMAP, FILLED, HELD };

static long room_beside(enum have have)
{
	int fd = make_file("f", 16 * MIB, 96), status;
	struct morsel_region r = region(fd, 0, 16 * MIB, 0);
	long *written = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int held = have == HELD ? ioctl(device(), MORSEL_HOLD, &r) : -1;

	check(have != HELD || held >= 0);
	if (have != HELD) {
		/* Read anew, its pages are charged to the group. */
		fsync(fd);
		posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	}
	pid_t child = fork();

	if (!child) {
		if (!small_group())
			_exit(99);
		if (have == MMAP)
			check(mmap((void *)BASE, 16 * MIB, RX,
				   MAP_PRIVATE | MAP_FIXED, fd, 0) ==
			      (void *)BASE);
		else
			attach(fd, 0, 16 * MIB, BASE);
		check_pages(BASE, 0, 16 * 256, 96);
		for (; *written < 64; ++*written)
			memset(mmap(NULL, MIB, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
			       1, MIB);
		_exit(0);
	}
	check(waitpid(child, &status, 0) == child);
	umount("cgroup");
	check(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	close(held);
	return *written;
}

/* What the kernel does not ask us for: the group's own limit. */
static void a_full_group(void)
{
	long plain = room_beside(MMAP), filled = room_beside(FILLED),
	     held = room_beside(HELD);

	dprintf(1, "# of 32 MiB: %ld beside mmap, %ld beside what the group filled, %ld beside what is held\n",
		plain, filled, held);
	/* What the group filled stays with it to the end, the rest does not. */
	check(plain >= 26 && held >= 26);
	check(filled >= 10 && filled <= 17);
}

static void killed_for_memory(void)
{
	int fd = make_file("f", SIZE, 91), status;

	attach(fd, 0, SIZE, BASE);
	for (int i = 0; i < 5; i++) {
		pid_t child = fork();

		if (!child) {
			if (!small_group())
				_exit(99);
			check_pages(BASE, 0, PAGES, 91);
			attach(fd, 0, SIZE, BASE + 64 * MIB);
			check_pages(BASE + 64 * MIB, 0, PAGES, 91);
			char *p = mmap(NULL, 256 * MIB, PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

			for (size_t k = 0; k < 256 * MIB; k += PAGE)
				p[k] = 1;
			_exit(0);
		}
		check(waitpid(child, &status, 0) == child);
		if (i == 0 || !WIFEXITED(status))
			umount("cgroup");
		if (WIFEXITED(status))
			dprintf(1, "# not killed: %x\n", status);
		check(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	}
	check_pages(BASE, 0, PAGES, 91);
}

/* Attach where the group has no memory for tables and pages. */
static void attach_without_memory(void)
{
	pid_t child = fork();

	if (!child) {
		int fd = make_file("big", 64 * MIB, 92), refused = 0;

		if (!small_group())
			_exit(99);
		/* Read anew, its pages are charged to this group. */
		fsync(fd);
		posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
		for (int i = 0; i < 8; i++) {
			struct morsel_region r = region(fd, i * 8 * MIB, 8 * MIB,
							BASE + i * 8 * MIB);

			ioctl(device(), MORSEL_ATTACH, &r);
			check(r.state == MORSEL_SHARED ||
			      (r.state == MORSEL_PLAIN &&
			       r.reason == MORSEL_WHY_MEMORY));
			refused += r.state == MORSEL_PLAIN;
		}
		check(refused > 0);
		check_pages(BASE, 0, 64 * 256, 92);
		_exit(0);
	}
	int status;

	check(waitpid(child, &status, 0) == child);
	umount("cgroup");
	check(status == 0);
}

static void limit(void)
{
	int fd = make_file("f", SIZE, 93);
	char old[32] = "";
	int param = open("/sys/module/morsel/parameters/limit_mib", O_RDWR);

	check(read(param, old, sizeof(old) - 1) > 0 && atol(old) > 100);
	write_file("/sys/module/morsel/parameters/limit_mib", "10");
	attach(fd, 0, SIZE, BASE);
	struct morsel_region r = region(fd, PAGE, SIZE - PAGE, BASE + 64 * MIB);

	unsigned int reason = attach_expecting(&r, MORSEL_PLAIN);

	write_file("/sys/module/morsel/parameters/limit_mib", old);
	check(reason == MORSEL_WHY_LIMIT);
	check_pages(BASE + 64 * MIB, 1, PAGES - 1, 93);
}

/*
 * drop_caches 2 asks all shrinkers for everything, as the last steps before
 * the OOM killer do. For 10 seconds afterwards nothing is shared.
 */
static void everything_is_given_back(void)
{
	int fd = make_file("f", SIZE, 94), other = make_file("g", SIZE, 95);
	struct morsel_region r = region(other, 0, SIZE, 0);
	int held = ioctl(device(), MORSEL_HOLD, &r);
	unsigned long dropped = totals().dropped;

	check(held >= 0);
	attach(fd, 0, SIZE, BASE);
	check_pages(BASE, 0, PAGES, 94);
	if (!fork()) {
		sleep_ms(2000);
		check_pages(BASE, 0, PAGES, 94);
		_exit(0);
	}
	write_file("/proc/sys/vm/drop_caches", "2");
	wait_totals(mappings, 0);
	wait_totals(pinned, 0);
	check(totals().dropped == dropped + 1);
	check_pages(BASE, 0, PAGES, 94);
	close(open("g", O_WRONLY));
	attach_plain(fd, SIZE, BASE + 64 * MIB, MORSEL_WHY_MEMORY);
	int status;

	check(wait(&status) > 0 && status == 0);
	sleep_ms(10000);
	/* The held one is filled again when it is needed. */
	attach(other, 0, SIZE, BASE + 128 * MIB);
	check_pages(BASE + 128 * MIB, 0, PAGES, 95);
}

const struct test pressure_tests[] = {
	{ "each allocation fails", each_allocation_fails, 120 },
	{ "a full group", a_full_group, 120 },
	{ "killed for memory", killed_for_memory, 120 },
	{ "attach without memory", attach_without_memory, 120 },
	{ "limit", limit, 0 },
	{ "everything is given back", everything_is_given_back, 120 },
	{ 0 },
};
