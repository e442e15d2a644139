// SPDX-License-Identifier: GPL-2.0
/*
 * A remote file system: somebody else may change its files, so that they are
 * never shared. It is the smallest FUSE server, with one file.
 */
#include <linux/fuse.h>
#include <sys/mount.h>
#include <sys/uio.h>

#include "lib.h"

#define SIZE (4 * MIB)
#define SEED 110
#define NODE 2 /* the file; the folder is FUSE_ROOT_ID */

static struct fuse_attr attributes(uint64_t node)
{
	return (struct fuse_attr) {
		.ino = node,
		.size = node == NODE ? SIZE : 0,
		.blocks = node == NODE ? SIZE / 512 : 0,
		.mode = node == NODE ? S_IFREG | 0755 : S_IFDIR | 0755,
		.nlink = 1,
		.blksize = PAGE,
	};
}

static void answer(int connection, uint64_t unique, int error, void *data,
		   size_t length)
{
	struct fuse_out_header head = {
		.len = sizeof(head) + (error ? 0 : length),
		.error = error,
		.unique = unique,
	};
	struct iovec parts[] = { { &head, sizeof(head) }, { data, length } };

	/* A request may have been given up meanwhile. */
	(void)!writev(connection, parts, error || !length ? 1 : 2);
}

/* As make_file() would have filled it. */
static void answer_read(int connection, uint64_t unique,
			const struct fuse_read_in *in)
{
	static char data[1 << 20];
	size_t length = in->size < sizeof(data) ? in->size : sizeof(data);

	if (in->offset >= SIZE)
		length = 0;
	else if (length > SIZE - in->offset)
		length = SIZE - in->offset;
	for (size_t at = 0; at < length; at += PAGE)
		memcpy(data + at,
		       (uint32_t[]) { (in->offset + at) / PAGE, SEED }, 8);
	answer(connection, unique, 0, data, length);
}

static void serve(int connection)
{
	static char request[1 << 20];
	struct fuse_in_header *head = (struct fuse_in_header *)request;
	void *in = head + 1;

	while (read(connection, request, sizeof(request)) > 0)
		switch (head->opcode) {
		case FUSE_INIT: {
			struct fuse_init_out out = {
				.major = FUSE_KERNEL_VERSION,
				.minor = FUSE_KERNEL_MINOR_VERSION,
				.max_write = PAGE,
			};

			answer(connection, head->unique, 0, &out, sizeof(out));
			break;
		}
		case FUSE_LOOKUP: {
			struct fuse_entry_out out = {
				.nodeid = NODE,
				.attr = attributes(NODE),
			};

			answer(connection, head->unique,
			       strcmp(in, "f") ? -ENOENT : 0, &out, sizeof(out));
			break;
		}
		case FUSE_GETATTR: {
			struct fuse_attr_out out = {
				.attr = attributes(head->nodeid),
			};

			answer(connection, head->unique, 0, &out, sizeof(out));
			break;
		}
		case FUSE_OPEN: {
			struct fuse_open_out out = { 0 };

			answer(connection, head->unique, 0, &out, sizeof(out));
			break;
		}
		case FUSE_READ:
			answer_read(connection, head->unique, in);
			break;
		case FUSE_RELEASE:
			answer(connection, head->unique, 0, NULL, 0);
			break;
		case FUSE_FORGET:
		case FUSE_BATCH_FORGET:
		case FUSE_INTERRUPT:
			break;
		default:
			answer(connection, head->unique, -ENOSYS, NULL, 0);
		}
}

static void fuse(void)
{
	int connection = open("/dev/fuse", O_RDWR | O_CLOEXEC), fd;
	struct morsel_region r;
	char options[64];
	pid_t server;

	check(connection >= 0);
	mkdir("remote", 0755);
	snprintf(options, sizeof(options),
		 "fd=%d,rootmode=40000,user_id=0,group_id=0", connection);
	check(mount("remote", "remote", "fuse", MS_NODEV, options) == 0);
	server = fork();
	if (!server) {
		serve(connection);
		_exit(0);
	}
	close(connection);

	fd = open("remote/f", O_RDONLY | O_CLOEXEC);
	check(fd >= 0);
	attach_plain(fd, SIZE, BASE, MORSEL_WHY_FILESYSTEM);
	check_pages(BASE, 0, SIZE / PAGE, SEED);
	/* It is a private mapping. */
	check(mprotect((void *)BASE, SIZE, PROT_READ | PROT_WRITE) == 0);
	*(volatile char *)(BASE + 5) = 1;
	check(munmap((void *)BASE, SIZE) == 0);

	/* Nor in any other way, nor held. */
	r = region(fd, 0, SIZE, BASE);
	r.flags = MORSEL_READY;
	check(attach_expecting(&r, MORSEL_PLAIN) == MORSEL_WHY_FILESYSTEM);
	check(mmap((void *)BASE, SIZE, RX, MAP_SHARED | MAP_FIXED, fd, 0) ==
	      (void *)BASE);
	r.flags = MORSEL_ADOPT;
	attach_expecting(&r, MORSEL_FAILED);
	check(r.error == -EEXIST);
	check_pages(BASE, 0, SIZE / PAGE, SEED);
	r = region(fd, 0, SIZE, 0);
	check(ioctl(device(), MORSEL_HOLD, &r) < 0 && errno == EBUSY);
	check(r.reason == MORSEL_WHY_FILESYSTEM);
	check(munmap((void *)BASE, SIZE) == 0);

	close(fd);
	check(umount("remote") == 0);
	wait_for(server);
}

const struct test remote_tests[] = {
	{ "FUSE", fuse, 0 },
	{ 0 },
};
