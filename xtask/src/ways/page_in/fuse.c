/*
 * A file system of one file (the root itself), which makes its pages when the kernel reads them into the page cache: what a
 * pager is elsewhere. It speaks the kernel's protocol (linux/fuse.h) without a library.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "region.h"

enum { MOST = 256 * PAGE /* what one read may ask for, at most */ };

static void reply(int device, uint64_t unique, int error, const void *data, size_t size)
{
	struct fuse_out_header header = { .len = sizeof header + size, .error = -error, .unique = unique };
	struct iovec parts[] = { { &header, sizeof header }, { (void *)data, size } };

	/* Who asked may have been interrupted, and be gone. */
	if (writev(device, parts, size ? 2 : 1) < 0 && errno != ENOENT)
		err(1, "/dev/fuse");
}

static void serve(const struct region *region, int device)
{
	static char request[MOST + PAGE], data[MOST + PAGE];
	const struct fuse_in_header *in = (void *)request;
	const struct fuse_read_in *read_in = (void *)(in + 1);
	size_t all = region->count * PAGE;

	while (read(device, request, sizeof request) > 0) {
		struct fuse_init_out init = { .major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION,
					      .max_readahead = 32 * PAGE, .max_write = PAGE };
		struct fuse_attr_out attributes = { .attr_valid = 3600,
						    .attr = { .ino = 1, .size = all, .mode = S_IFREG | 0444, .nlink = 1 } };
		struct fuse_open_out opened = { .open_flags = FOPEN_KEEP_CACHE };
		size_t size = 0;

		switch (in->opcode) {
		case FUSE_INIT:
			reply(device, in->unique, 0, &init, sizeof init);
			break;
		case FUSE_GETATTR:
			reply(device, in->unique, 0, &attributes, sizeof attributes);
			break;
		case FUSE_OPEN:
			reply(device, in->unique, 0, &opened, sizeof opened);
			break;
		case FUSE_READ:
			for (; size < read_in->size && read_in->offset + size < all; size += PAGE)
				make_page(region, (read_in->offset + size) / PAGE, data + size);
			reply(device, in->unique, 0, data, size);
			break;
		case FUSE_FORGET:
		case FUSE_BATCH_FORGET:
		case FUSE_INTERRUPT:
			break;
		case FUSE_RELEASE:
		case FUSE_FLUSH:
			reply(device, in->unique, 0, NULL, 0);
			break;
		default:
			reply(device, in->unique, ENOSYS, NULL, 0);
		}
	}
}

int fuse_start(const struct region *region, pid_t *server)
{
	char place[] = "/tmp/ld-morsel-pages-XXXXXX", options[128];
	int device = open("/dev/fuse", O_RDWR | O_CLOEXEC), point = mkstemp(place);

	if (device < 0 || point < 0)
		err(1, "/dev/fuse");
	snprintf(options, sizeof options, "fd=%d,rootmode=100444,user_id=0,group_id=0,allow_other", device);
	if (mount("pages", place, "fuse", MS_NOSUID | MS_NODEV | MS_RDONLY, options))
		err(1, "cannot mount a file system");
	*server = fork();
	if (*server < 0)
		err(1, "no server");
	if (*server == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		serve(region, device);
		_exit(0);
	}
	close(device);
	close(point);
	int file = open(place, O_RDONLY | O_CLOEXEC);
	struct stat status;
	/* The kernel does not know the root's size before it is asked for it. What is open stays. */
	if (file < 0 || fstat(file, &status) || umount2(place, MNT_DETACH) || unlink(place))
		err(1, "%s", place);
	return file;
}
