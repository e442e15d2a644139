// SPDX-License-Identifier: GPL-2.0
/* What the tests have in common; see lib.h. */
#include <sys/resource.h>
#include <time.h>

#include "lib.h"

void fail(const char *file, int line, const char *what)
{
	dprintf(1, "# %s:%d: %s (errno: %s)\n", file, line, what,
		strerror(errno));
	_exit(1);
}

int make_file(const char *name, size_t size, uint32_t seed)
{
	static char page[PAGE];
	uint32_t *words = (uint32_t *)page;
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);

	check(fd >= 0);
	for (size_t done = 0; done < size; done += PAGE) {
		size_t part = size - done < PAGE ? size - done : PAGE;

		words[0] = done / PAGE;
		words[1] = seed;
		check(write(fd, page, part) == (ssize_t)part);
	}
	close(fd);
	fd = open(name, O_RDONLY | O_CLOEXEC);
	check(fd >= 0);
	return fd;
}

bool page_is(unsigned long addr, unsigned long number, uint32_t seed)
{
	volatile uint32_t *words = (volatile uint32_t *)addr;

	return words[0] == number && words[1] == seed;
}

void check_pages(unsigned long addr, unsigned long first, unsigned long count,
		 uint32_t seed)
{
	for (unsigned long i = 0; i < count; i++)
		check(page_is(addr + i * PAGE, first + i, seed));
}

int device(void)
{
	static int fd = -1;

	if (fd < 0)
		fd = open(MORSEL_DEVICE, O_RDWR | O_CLOEXEC);
	check(fd >= 0);
	return fd;
}

struct morsel_region region(int fd, unsigned long offset, unsigned long length,
			    unsigned long addr)
{
	return (struct morsel_region) {
		.fd = fd,
		.prot = RX,
		.offset = offset,
		.length = length,
		.addr = addr,
		.state = 77,
	};
}

unsigned int attach_expecting(struct morsel_region *r, unsigned int state)
{
	errno = 0;
	ioctl(device(), MORSEL_ATTACH, r);
	if (r->state != state)
		dprintf(1, "# state %u, error %d, reason %u\n", r->state,
			r->error, r->reason);
	check(r->state == state);
	return r->reason;
}

void attach(int fd, unsigned long offset, unsigned long length,
	    unsigned long addr)
{
	struct morsel_region r = region(fd, offset, length, addr);

	attach_expecting(&r, MORSEL_SHARED);
}

void attach_plain(int fd, unsigned long length, unsigned long addr,
		  unsigned int reason)
{
	struct morsel_region r = region(fd, 0, length, addr);

	check(attach_expecting(&r, MORSEL_PLAIN) == reason);
}

struct morsel_totals totals(void)
{
	struct morsel_totals t;

	check(!ioctl(device(), MORSEL_TOTALS, &t));
	check(t.damaged == 0);
	return t;
}

void wait_for(pid_t child)
{
	int status;

	check(waitpid(child, &status, 0) == child);
	if (status)
		dprintf(1, "# a child ended with status %x\n", status);
	check(status == 0);
}

int in_child(void (*run)(void *), void *arg)
{
	pid_t child = fork();
	int status;

	check(child >= 0);
	if (!child) {
		run(arg);
		_exit(0);
	}
	check(waitpid(child, &status, 0) == child);
	check(WIFEXITED(status));
	return WEXITSTATUS(status);
}

long minor_faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt;
}

void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	check(fd >= 0);
	check(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

long number_in(const char *path, const char *key)
{
	FILE *file = fopen(path, "re");
	char line[256];
	long number = -1;

	check(file);
	while (number < 0 && fgets(line, sizeof(line), file))
		if (!strncmp(line, key, strlen(key)))
			number = atol(line + strlen(key));
	fclose(file);
	check(number >= 0);
	return number;
}

void sleep_ms(unsigned int ms)
{
	struct timespec time = { ms / 1000, ms % 1000 * 1000000L };

	nanosleep(&time, NULL);
}
