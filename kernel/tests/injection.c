// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel's own fault injection, where it is configured (the debug kernel):
 * each allocation that a system call makes fails once, ours and those of the
 * kernel around us, of which fork and mmap have more than we do.
 */
#include <sys/uio.h>

#include "lib.h"

#define SIZE (8 * MIB)
#define PAGES (SIZE / PAGE)

static int nth = -1;

/* The n-th allocation of this thread from now on fails; 0: none. */
static void fail_nth(unsigned int n)
{
	char text[16];
	int length = snprintf(text, sizeof(text), "%u", n);

	check(pwrite(nth, text, length, 0) == length);
}

/* Whether it has come to that; none fails from now on. */
static bool has_failed(void)
{
	char text[16] = "";
	bool failed;

	check(pread(nth, text, sizeof(text) - 1, 0) > 0);
	failed = atol(text) == 0;
	fail_nth(0);
	return failed;
}

/* False if the kernel has no fault injection: then there is fail_after only. */
static bool injects(void)
{
	static const char *const settings[] = {
		"failslab/ignore-gfp-wait", "fail_page_alloc/ignore-gfp-wait",
		"fail_page_alloc/ignore-gfp-highmem", "fail_page_alloc/min-order",
		"failslab/verbose", "fail_page_alloc/verbose",
	};
	char path[128];

	nth = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	if (nth < 0) {
		dprintf(1, "# this kernel injects no failures\n");
		return false;
	}
	for (size_t i = 0; i < sizeof(settings) / sizeof(*settings); i++) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/%s", settings[i]);
		write_file(path, "0");
	}
	/* Opened before anything fails. */
	device();
	return true;
}

/* Attempts it with one failure after the other, until there was none. */
static void each(const char *what, bool (*failed)(unsigned int n))
{
	unsigned int n = 1;

	while (failed(n) && n < 2000) {
		/* Which says whether anything was damaged. */
		totals();
		n++;
	}
	dprintf(1, "# %s: %u allocations failed\n", what, n - 1);
	check(n > 1 && n < 2000);
}

static int file;
static unsigned int flags;

/* Reads as the kernel does, which says EFAULT rather than send a signal. */
static void touch(void)
{
	char page[PAGE];

	for (unsigned long at = BASE; at < BASE + SIZE; at += CHUNK) {
		struct iovec here = { page, 8 }, there = { (void *)at, 8 };

		process_vm_readv(getpid(), &here, 1, &there, 1, 0);
	}
}

static void prepare(void)
{
	int sharing = flags & MORSEL_ADOPT ? MAP_SHARED : MAP_PRIVATE;

	if (flags & (MORSEL_ADOPT | MORSEL_REPLACE))
		check(mmap((void *)BASE, SIZE, RX, sharing | MAP_FIXED, file,
			   0) == (void *)BASE);
}

static bool attach_fails(unsigned int n)
{
	struct morsel_region r = region(file, 0, SIZE, BASE);
	bool failed;

	r.flags = flags;
	prepare();
	fail_nth(n);
	ioctl(device(), MORSEL_ATTACH, &r);
	if (r.state != MORSEL_FAILED)
		touch();
	failed = has_failed();
	check(failed || r.state == MORSEL_SHARED);
	check(r.state != MORSEL_FAILED || r.error == -ENOMEM);
	check(r.state != MORSEL_PLAIN || r.reason == MORSEL_WHY_MEMORY);
	if (r.state != MORSEL_FAILED)
		check_pages(BASE, 0, PAGES, 100);
	check(munmap((void *)BASE, SIZE) == 0);
	return failed;
}

static bool hold_fails(unsigned int n)
{
	struct morsel_region r = region(file, 0, SIZE, 0);
	int held, error;
	bool failed;

	fail_nth(n);
	held = ioctl(device(), MORSEL_HOLD, &r);
	error = errno;
	failed = has_failed();
	if (held >= 0)
		check(close(held) == 0);
	else
		check(failed && (error == ENOMEM ||
				 r.reason == MORSEL_WHY_MEMORY));
	return failed;
}

static bool fork_fails(unsigned int n)
{
	int status, error;
	pid_t child;
	bool failed;

	attach(file, 0, SIZE, BASE);
	check_pages(BASE, 0, PAGES, 100);
	fail_nth(n);
	child = fork();
	if (!child) {
		check_pages(BASE, 0, PAGES, 100);
		_exit(0);
	}
	error = errno;
	failed = has_failed();
	check(child > 0 || (failed && (error == ENOMEM || error == EAGAIN)));
	if (child > 0)
		check(waitpid(child, &status, 0) == child && status == 0);
	check_pages(BASE, 0, PAGES, 100);
	check(munmap((void *)BASE, SIZE) == 0);
	return failed;
}

static bool change_fails(unsigned int n)
{
	void *to = (void *)(BASE + 64 * MIB);
	bool failed;

	attach(file, 0, SIZE, BASE);
	check_pages(BASE, 0, PAGES, 100);
	fail_nth(n);
	check(mprotect((void *)(BASE + MIB), PAGE, PROT_READ) == 0 ||
	      errno == ENOMEM);
	check(munmap((void *)(BASE + 3 * MIB), PAGE) == 0 || errno == ENOMEM);
	if (mremap((void *)(BASE + 4 * MIB), 4 * MIB, 4 * MIB,
		   MREMAP_MAYMOVE | MREMAP_FIXED, to) == to)
		check_pages((unsigned long)to, 1024, 1024, 100);
	else
		check(errno == ENOMEM);
	check_pages(BASE, 0, 3 * MIB / PAGE, 100);
	touch();
	failed = has_failed();
	check(munmap((void *)BASE, SIZE) == 0);
	check(munmap(to, SIZE) == 0);
	return failed;
}

static void attaching(void)
{
	file = make_file("f", SIZE, 100);
	if (!injects())
		return;
	each("attach", attach_fails);
	flags = MORSEL_HUGE;
	each("huge", attach_fails);
	flags = MORSEL_REPLACE;
	each("replace", attach_fails);
	flags = MORSEL_ADOPT;
	each("adopt", attach_fails);
	flags = MORSEL_ADOPT | MORSEL_LAZY;
	each("adopt, lazy", attach_fails);
	each("hold", hold_fails);
}

static void afterwards(void)
{
	file = make_file("f", SIZE, 100);
	if (!injects())
		return;
	each("fork", fork_fails);
	each("mprotect, munmap and mremap", change_fails);
}

const struct test injection_tests[] = {
	{ "attaching without memory", attaching, 240 },
	{ "forking and cutting without memory", afterwards, 240 },
	{ 0 },
};
