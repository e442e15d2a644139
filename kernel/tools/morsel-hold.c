// SPDX-License-Identifier: GPL-2.0
/*
 * Keeps the morsels that processes have of some files now, until it is killed:
 *
 *   morsel-hold FILE...
 *
 * Afterwards nobody fills them any more, and who takes only what is ready gets
 * them. Which regions of a file there are is the loader's choice; it need not
 * be known here. Must be root, to see what others have.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../include/uapi/morsel.h"

/* Holds all morsels of a file; returns how many there are. */
static unsigned int hold(int device, const char *path)
{
	struct morsel_stat morsel = { .id = 0 };
	unsigned int held = 0;
	struct stat file;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &file))
		err(1, "%s", path);
	while (!ioctl(device, MORSEL_STAT_NEXT, &morsel)) {
		struct morsel_region region = {
			.fd = fd,
			.prot = morsel.prot,
			.offset = morsel.offset,
			.length = morsel.length,
			.flags = morsel.flags,
		};

		if (morsel.device != file.st_dev || morsel.inode != file.st_ino)
			continue;
		/* The descriptor is what keeps it. */
		if (ioctl(device, MORSEL_HOLD, &region) < 0)
			err(1, "%s: MORSEL_HOLD (reason %u)", path, region.reason);
		printf("%s: %llu KiB from %#llx\n", path, morsel.length >> 10,
		       morsel.offset);
		held++;
	}
	if (errno != ENOENT)
		err(1, "%s: MORSEL_STAT_NEXT", path);
	close(fd);
	return held;
}

int main(int argc, char **argv)
{
	int device = open(MORSEL_DEVICE, O_RDONLY | O_CLOEXEC);

	if (argc < 2)
		errx(2, "usage: morsel-hold FILE...");
	if (device < 0)
		err(1, "%s", MORSEL_DEVICE);
	for (int i = 1; i < argc; i++)
		if (!hold(device, argv[i]))
			errx(1, "%s: no process has a morsel of it", argv[i]);
	fflush(stdout);
	for (;;)
		pause();
}
