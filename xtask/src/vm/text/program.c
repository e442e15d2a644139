/*
 * Says to descriptor 3 when main began, calls what share of the library's pages it is told, and stays until its
 * input ends.
 *
 *   program PERCENT
 */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

long touch(int percent);

int main(int argc, char **argv)
{
	struct timespec now;
	char byte;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (argc != 2 || write(3, &now, sizeof now) != sizeof now)
		return 2;
	touch(atoi(argv[1]));
	while (read(0, &byte, 1) > 0)
		;
	return 0;
}
