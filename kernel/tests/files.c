// SPDX-License-Identifier: GPL-2.0
/* What happens to the file: writers, renames, mounts, kinds of file systems. */
#include <sys/mount.h>

#include "lib.h"

#define SIZE (4 * MIB)

static void writers_are_kept_out(void)
{
	int fd = make_file("f", SIZE, 40);

	attach(fd, 0, SIZE, BASE);
	check(open("f", O_RDWR) < 0 && errno == ETXTBSY);
	check(open("f", O_WRONLY | O_TRUNC) < 0 && errno == ETXTBSY);
	check(truncate("f", 0) < 0 && errno == ETXTBSY);
	munmap((void *)BASE, SIZE);
	/* As soon as the last mapping is gone. */
	int out = open("f", O_RDWR);

	check(out >= 0);
	attach_plain(fd, SIZE, BASE, MORSEL_WHY_WRITERS);
	check_pages(BASE, 0, 1024, 40);
	close(out);
	attach(fd, 0, SIZE, BASE + 64 * MIB);
	check(unlink("f") == 0);
	check_pages(BASE + 64 * MIB, 0, 1024, 40);
}

static void writable_descriptor_is_plain(void)
{
	close(make_file("f", SIZE, 41));
	attach_plain(open("f", O_RDWR), SIZE, BASE, MORSEL_WHY_WRITERS);
	check_pages(BASE, 0, 1024, 41);
}

static void replaced_by_rename(void)
{
	for (uint32_t i = 0; i < 20; i++) {
		int fd = make_file("new", SIZE, 100 + i);

		check(rename("new", "f") == 0);
		attach(fd, 0, SIZE, BASE + i * SIZE);
		close(fd);
		/* Who has an old one keeps it. */
		for (uint32_t k = 0; k <= i; k++)
			check_pages(BASE + k * SIZE, 0, 1024, 100 + k);
	}
	check(totals().morsels == 20);
}

/* Processes of many generations, as of a program that is updated. */
static void generations(void)
{
	enum { COUNT = 12 };
	int there[2], end[2], status;
	char c;

	check(pipe(there) == 0 && pipe(end) == 0);
	for (uint32_t i = 0; i < COUNT; i++) {
		close(make_file("new", SIZE, 200 + i));
		check(rename("new", "f") == 0);
		/* Two of each: whoever opens the path finds the new file. */
		for (int k = 0; k < 2; k++) {
			if (!fork()) {
				close(end[1]);
				attach(open("f", O_RDONLY), 0, SIZE, BASE);
				check_pages(BASE, 0, 1024, 200 + i);
				check(write(there[1], "x", 1) == 1);
				check(read(end[0], &c, 1) == 0);
				check_pages(BASE, 0, 1024, 200 + i);
				_exit(0);
			}
			check(read(there[0], &c, 1) == 1);
		}
	}
	check(totals().morsels == COUNT && totals().mappings == 2 * COUNT);
	close(end[1]);
	for (int i = 0; i < 2 * COUNT; i++)
		check(wait(&status) > 0 && status == 0);
}

static void two_files_at_one_offset(void)
{
	int a = make_file("a", SIZE, 42), b = make_file("b", SIZE, 43);

	attach(a, CHUNK, CHUNK, BASE);
	attach(b, CHUNK, CHUNK, BASE + CHUNK);
	check_pages(BASE, 512, 512, 42);
	check_pages(BASE + CHUNK, 512, 512, 43);
	check(totals().morsels == 2);
}

static void two_mounts(void)
{
	int fd = make_file("f", SIZE, 44), other;

	mkdir("again", 0755);
	check(mount(".", "again", NULL, MS_BIND, NULL) == 0);
	other = open("again/f", O_RDONLY | O_CLOEXEC);
	attach(fd, 0, SIZE, BASE);
	attach(other, 0, SIZE, BASE + SIZE);
	check_pages(BASE, 0, 1024, 44);
	check_pages(BASE + SIZE, 0, 1024, 44);
	check(totals().morsels == 1 && totals().mappings == 2);
	munmap((void *)BASE, 2 * SIZE);
	close(other);
	/* A mapping gives its mount back. */
	check(umount("again") == 0);
}

static void overlay(void)
{
	char options[] = "lowerdir=lower,upperdir=upper,workdir=work";
	int fd, lower;

	mkdir("lower", 0755);
	mkdir("upper", 0755);
	mkdir("work", 0755);
	mkdir("merged", 0755);
	check(mount("overlay", "merged", "overlay", 0, options) == 0);
	lower = make_file("lower/f", SIZE, 45);
	fd = open("merged/f", O_RDONLY | O_CLOEXEC);
	attach(fd, 0, SIZE, BASE);
	attach(lower, 0, SIZE, BASE + SIZE);
	check_pages(BASE, 0, 1024, 45);
	check(totals().morsels == 1);
	/* That it is ready shows through both. */
	for (int i = 0; i < 2; i++) {
		struct morsel_region r = region(i ? fd : lower, 0, SIZE,
						BASE + (2 + i) * SIZE);

		r.flags = MORSEL_REPLACE | MORSEL_READY;
		attach_expecting(&r, MORSEL_SHARED);
	}
	munmap((void *)BASE, 4 * SIZE);
	/* Only the file below can be held. */
	struct morsel_region r = region(fd, 0, SIZE, 0);

	check(ioctl(device(), MORSEL_HOLD, &r) < 0 && errno == EBUSY);
	check(r.reason == MORSEL_WHY_FILESYSTEM);
	close(fd);

	fd = make_file("merged/up", SIZE, 46);
	attach(fd, 0, SIZE, BASE);
	check_pages(BASE, 0, 1024, 46);
	check(open("merged/up", O_WRONLY) < 0 && errno == ETXTBSY);
	munmap((void *)BASE, SIZE);
	close(fd);
	check(umount("merged") == 0);
}

static void on_tmpfs(void)
{
	mkdir("tmpfs", 0755);
	check(mount("tmpfs", "tmpfs", "tmpfs", 0, NULL) == 0);
	int fd = make_file("tmpfs/f", SIZE + 100, 47);

	attach(fd, 0, SIZE, BASE);
	attach(fd, 0, SIZE + 100, BASE + 2 * SIZE);
	check_pages(BASE, 0, 1024, 47);
	check_pages(BASE + 2 * SIZE, 0, 1025, 47);
	munmap((void *)BASE, 4 * SIZE);
	close(fd);

	/* A file with holes. */
	fd = open("tmpfs/holes", O_RDWR | O_CREAT, 0755);
	check(ftruncate(fd, SIZE) == 0);
	close(fd);
	fd = open("tmpfs/holes", O_RDONLY);
	attach(fd, 0, SIZE, BASE);
	for (unsigned long i = 0; i < SIZE; i += PAGE)
		check(*(volatile char *)(BASE + i) == 0);
	munmap((void *)BASE, SIZE);
	close(fd);
	check(umount("tmpfs") == 0);
}

static void a_noexec_mount(void)
{
	struct morsel_region r;

	mkdir("noexec", 0755);
	check(mount("tmpfs", "noexec", "tmpfs", MS_NOEXEC, NULL) == 0);
	int fd = make_file("noexec/f", SIZE, 48);

	r = region(fd, 0, SIZE, BASE);
	attach_expecting(&r, MORSEL_FAILED);
	check(r.error == -EPERM);
	r.prot = PROT_READ;
	attach_expecting(&r, MORSEL_SHARED);
	munmap((void *)BASE, SIZE);
	close(fd);
	check(umount("noexec") == 0);
}

static void permissions(void)
{
	struct morsel_region r;
	int fd = make_file("f", SIZE, 49);

	check(chmod("f", 0644) == 0);
	if (!fork()) {
		check(setuid(1000) == 0);
		attach_plain(fd, SIZE, BASE, MORSEL_WHY_PERMISSION);
		check_pages(BASE, 0, 1024, 49);
		r = region(fd, 0, SIZE, 0);
		check(ioctl(device(), MORSEL_HOLD, &r) < 0 && errno == EBUSY);
		check(r.reason == MORSEL_WHY_PERMISSION);
		_exit(0);
	}
	int status;

	check(wait(&status) > 0 && status == 0);
	write_file("/sys/module/morsel/parameters/require_exec", "N");
	if (!fork()) {
		check(setuid(1000) == 0);
		attach(fd, 0, SIZE, BASE);
		_exit(0);
	}
	check(wait(&status) > 0);
	write_file("/sys/module/morsel/parameters/require_exec", "Y");
	check(status == 0);
	/* Root decides itself. */
	attach(fd, 0, SIZE, BASE);
}

static void unsuitable_files(void)
{
	struct morsel_region r = region(open("/proc/self/maps", O_RDONLY), 0,
					CHUNK, BASE);
	int fd;

	attach_expecting(&r, MORSEL_FAILED);
	r = region(open("/", O_RDONLY), 0, CHUNK, BASE);
	attach_expecting(&r, MORSEL_FAILED);
	check(r.error == -ENODEV);
	r = region(open("/dev/zero", O_RDONLY), 0, CHUNK, BASE);
	attach_expecting(&r, MORSEL_FAILED);
	r = region(open("f", O_WRONLY | O_CREAT | O_TRUNC, 0755), 0, CHUNK, BASE);
	attach_expecting(&r, MORSEL_FAILED);
	check(r.error == -EACCES);
	close(r.fd);
	fd = make_file("f", 100, 50);
	r = region(fd, PAGE, CHUNK, BASE);
	attach_expecting(&r, MORSEL_FAILED);
	check(r.error == -EINVAL);
	/* A file system without pages of its own: sysfs has some that map. */
	fd = open("/sys/kernel/btf/vmlinux", O_RDONLY);
	r = region(fd, 0, CHUNK, BASE);
	r.prot = PROT_READ;
	ioctl(device(), MORSEL_ATTACH, &r);
	check(r.state != MORSEL_SHARED);
	/* One page is enough. */
	fd = make_file("f", 100, 50);
	attach(fd, 0, 100, BASE + CHUNK);
	check(page_is(BASE + CHUNK, 0, 50));
}

const struct test files_tests[] = {
	{ "writers are kept out", writers_are_kept_out, 0 },
	{ "a writable descriptor is plain", writable_descriptor_is_plain, 0 },
	{ "replaced by rename", replaced_by_rename, 0 },
	{ "generations of processes", generations, 0 },
	{ "two files at one offset", two_files_at_one_offset, 0 },
	{ "one file through two mounts", two_mounts, 0 },
	{ "overlay", overlay, 0 },
	{ "tmpfs", on_tmpfs, 0 },
	{ "a noexec mount", a_noexec_mount, 0 },
	{ "permissions", permissions, 0 },
	{ "unsuitable files", unsuitable_files, 0 },
	{ 0 },
};
