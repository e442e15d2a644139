// SPDX-License-Identifier: GPL-2.0
/* Arguments that nobody in his right mind would use. */
#include <pthread.h>
#include <sys/uio.h>
#include <time.h>

#include "lib.h"

static const uint64_t extremes[] = {
	0, 1, 2, 4095, 4096, 4097, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK,
	1UL << 31, 1UL << 32, (1UL << 32) - 1, (1UL << 47) - CHUNK, 1UL << 47,
	(1UL << 47) - 4096, 1UL << 48, 1UL << 56, ~0UL >> 1, (~0UL >> 1) - 4095,
	1UL << 63, ~0UL - CHUNK + 1, ~0UL - 4095, ~0UL, 0xffff800000000000,
	0xffffffffff600000, BASE, BASE + CHUNK,
};

#define EXTREMES (sizeof(extremes) / sizeof(*extremes))

static void set_field(struct morsel_region *r, int field, uint64_t value)
{
	switch (field) {
	case 0:
		r->fd = value;
		break;
	case 1:
		r->prot = value;
		break;
	case 2:
		r->offset = value;
		break;
	case 3:
		r->length = value;
		break;
	case 4:
		r->addr = value;
		break;
	case 5:
		r->flags = value;
		break;
	}
}

/* Not merely asked, nor left as it was because it is not ready. */
static bool is_mapped_by(const struct morsel_region *r)
{
	if (!(r->flags & MORSEL_READY))
		return r->state != MORSEL_FAILED;
	return r->state == MORSEL_SHARED &&
	       r->flags & (MORSEL_REPLACE | MORSEL_ADOPT);
}

static void try(struct morsel_region r)
{
	uint64_t addr = r.addr;

	ioctl(device(), MORSEL_ATTACH, &r);
	check(r.state <= MORSEL_FAILED);
	check((r.state == MORSEL_FAILED) == (r.error < 0));
	check(r.reason < MORSEL_WHY_COUNT);
	check(r.state == MORSEL_FAILED ||
	      (r.addr == addr && addr % CHUNK == 0));
	if (!is_mapped_by(&r))
		return;
	/* It lies inside the file. */
	(void)*(volatile char *)addr;
	check(munmap((void *)addr, r.length) == 0);
}

static void each_field(void)
{
	int fd = make_file("f", 5 * MIB, 80);

	for (int field = 0; field < 6; field++)
		for (size_t i = 0; i < EXTREMES; i++) {
			struct morsel_region r = region(fd, 0, 5 * MIB, BASE);

			set_field(&r, field, extremes[i]);
			/* Not what the test itself stands on. */
			if (field == 0 && r.fd >= 0 && r.fd <= 2)
				continue;
			try(r);
			for (int other = 0; other < 6; other++)
				for (size_t k = 0; k < EXTREMES; k++) {
					struct morsel_region s = r;

					set_field(&s, other, extremes[k]);
					if (s.fd >= 0 && s.fd <= 2)
						continue;
					try(s);
				}
		}
}

/* Each thread's own. */
static __thread uint64_t state = 0x9e3779b97f4a7c15;

static uint64_t number(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

/* Something to replace or to adopt, or that must not be. */
static void map_something(int fd, unsigned long addr, unsigned long length)
{
	static const struct {
		int prot, flags;
		bool of_file;
	} kinds[] = {
		{ PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, false },
		{ PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, false },
		{ RX, MAP_PRIVATE, true },
		{ RX, MAP_SHARED, true },
		{ PROT_READ, MAP_SHARED, true },
	};
	unsigned int kind = number() % 8;

	if (kind < sizeof(kinds) / sizeof(*kinds))
		mmap((void *)addr, length, kinds[kind].prot,
		     kinds[kind].flags | MAP_FIXED,
		     kinds[kind].of_file ? fd : -1, 0);
	else
		munmap((void *)addr, length);
}

static struct morsel_region any_region(int fd, unsigned long addr)
{
	struct morsel_region r = region(fd, 0, 5 * MIB, addr);

	for (int field = 1; field < 6; field++)
		switch (number() % 12) {
		case 0:
			set_field(&r, field, number());
			break;
		case 1:
			set_field(&r, field, extremes[number() % EXTREMES]);
			break;
		case 2:
			set_field(&r, field, number() % 64 * PAGE);
			break;
		}
	if (number() % 2)
		r.flags = number() & MORSEL_FLAGS;
	return r;
}

static void fuzz(void)
{
	int fd = make_file("f", 5 * MIB, 81), held = -1;
	unsigned long shared = totals().shared;

	for (int i = 0; i < 8000; i++) {
		struct morsel_region r;

		map_something(fd, BASE, 8 * MIB);
		try(any_region(fd, BASE));
		if (i % 4)
			continue;
		/* Kept for a while, so that something is ready. */
		if (held >= 0)
			close(held);
		r = any_region(fd, 0);
		held = ioctl(device(), MORSEL_HOLD, &r);
		check(r.reason < MORSEL_WHY_COUNT);
	}
	/* It was not only refused. */
	dprintf(1, "# %lu shared\n", (unsigned long)totals().shared - shared);
	check(totals().shared - shared > 100);
}

#define PLACES 4

static void *quarrel(void *arg)
{
	time_t end = time(NULL) + 5;
	int fd = *(int *)arg;

	state += (uint64_t)&end;
	while (time(NULL) < end) {
		struct morsel_region r[PLACES];
		struct morsel_regions all = { (uintptr_t)r, PLACES, 0, 0, 0 };
		unsigned long addr = BASE + number() % PLACES * CHUNK;
		struct iovec here = { &(long) { 0 }, 8 },
			     there = { (void *)addr, 8 };

		for (int i = 0; i < PLACES; i++)
			r[i] = any_region(fd, BASE + i * CHUNK);
		switch (number() % 4) {
		case 0:
			map_something(fd, addr, CHUNK * (1 + number() % 3));
			break;
		case 1:
			madvise((void *)addr, CHUNK, MADV_DONTNEED);
			break;
		case 2:
			/* As a read, but it may be of nothing. */
			process_vm_readv(getpid(), &here, 1, &there, 1, 0);
			break;
		default:
			ioctl(device(), MORSEL_ATTACH_MANY, &all);
			/* Who asks for any address may get it. */
			for (int i = 0; i < PLACES; i++)
				if (r[i].addr != BASE + i * CHUNK &&
				    is_mapped_by(&r[i]))
					munmap((void *)r[i].addr, r[i].length);
		}
	}
	return NULL;
}

/* Threads of one process that do not leave each other's regions alone. */
static void quarrels(void)
{
	int fd = make_file("f", 5 * MIB, 84);
	unsigned long shared = totals().shared;
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		check(!pthread_create(&threads[i], NULL, quarrel, &fd));
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	check(totals().shared > shared);
}

static void pointers(void)
{
	static const unsigned long bad[] = {
		0, 1, 4096, 0x800000000000, ~0UL, ~0UL - 8, 0xffffffff80000000,
		0xffff888000000000,
	};
	int fd = make_file("f", 4 * MIB, 82), held;
	struct morsel_region r = region(fd, 0, 4 * MIB, BASE), *edge;
	struct morsel_regions many = { 0 };

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		for (unsigned int nr = 0; nr < 9; nr++) {
			static const unsigned long calls[] = {
				MORSEL_VERSION, MORSEL_ATTACH,
				MORSEL_ATTACH_MANY, MORSEL_HOLD, MORSEL_STAT,
				MORSEL_STAT_NEXT, MORSEL_TOTALS, 0, ~0UL,
			};

			check(ioctl(device(), calls[nr], bad[i]) < 0);
			check(errno == EFAULT || errno == ENOTTY);
		}

	/* An array that ends at the end of a page that ends the memory. */
	char *page = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	munmap(page + PAGE, PAGE);
	edge = (struct morsel_region *)(page + PAGE) - 1;
	*edge = r;
	many = (struct morsel_regions) { (uintptr_t)edge, 2, 0, 0, 0 };
	check(ioctl(device(), MORSEL_ATTACH_MANY, &many) < 0 && errno == EFAULT);
	check(edge->state == MORSEL_SHARED);
	check_pages(BASE, 0, 1024, 82);

	many.count = MORSEL_MAX_REGIONS + 1;
	check(ioctl(device(), MORSEL_ATTACH_MANY, &many) < 0 && errno == E2BIG);
	many.count = ~0U;
	check(ioctl(device(), MORSEL_ATTACH_MANY, &many) < 0 && errno == E2BIG);
	many.count = 0;
	check(ioctl(device(), MORSEL_ATTACH_MANY, &many) == 0);
	many.reserved = 1;
	check(ioctl(device(), MORSEL_ATTACH_MANY, &many) < 0 && errno == EINVAL);

	/* Answers that cannot be stored. */
	edge->addr = BASE + 64 * MIB;
	check(mprotect(page, PAGE, PROT_READ) == 0);
	check(ioctl(device(), MORSEL_ATTACH, edge) < 0 && errno == EFAULT);
	check(ioctl(device(), MORSEL_HOLD, edge) < 0 && errno == EFAULT);

	/* The same descriptor in the wrong place. */
	r.addr = 0;
	held = ioctl(device(), MORSEL_HOLD, &r);
	check(held >= 0);
	check(ioctl(held, MORSEL_ATTACH, &r) < 0 && errno == ENOTTY);
	r = region(held, 0, CHUNK, BASE + 128 * MIB);
	try(r);
	r.fd = device();
	try(r);
	check(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, held, 0) == MAP_FAILED);
	check(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, device(), 0) == MAP_FAILED);
}

/* The call's own structure lies in what it replaces. */
static void over_itself(void)
{
	int fd = make_file("f", 4 * MIB, 83);
	struct morsel_region *r;

	r = mmap((void *)BASE, 4 * MIB, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	*r = region(fd, 0, 4 * MIB, BASE);
	r->flags = MORSEL_REPLACE;
	check(ioctl(device(), MORSEL_ATTACH, r) < 0 && errno == EEXIST);
	check(r->error == -EEXIST);
}

const struct test hostile_tests[] = {
	{ "each field at its extremes", each_field, 300 },
	{ "random fields", fuzz, 300 },
	{ "threads that quarrel", quarrels, 120 },
	{ "bad pointers", pointers, 0 },
	{ "over itself", over_itself, 0 },
	{ 0 },
};
