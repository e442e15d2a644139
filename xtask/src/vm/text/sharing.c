/*
 * Calls the library that it is linked with, or that is named, and says on standard error how much of it is mapped with
 * shared page tables (`shared KIB`), and on standard output what does not depend on that.
 *
 *   sharing [LIBRARY]           calls all pages
 *   sharing fork [LIBRARY]      so does a child, too
 *   sharing pair LOADER PROGRAM [LIBRARY]
 *                               so does, meanwhile, a process of `LOADER PROGRAM second [LIBRARY]`; says how many
 *                               page tables there are for the first and for both (`tables FIRST BOTH`)
 *   sharing auto LOADER PROGRAM [LIBRARY]
 *                               the same with LD_MORSEL_MAP=auto for the second one
 *   sharing secure LOADER PROGRAM [LIBRARY]
 *                               the same, and the second one is in secure-execution mode
 *   sharing held HOLD FILE LOADER PROGRAM [LIBRARY]
 *                               calls all pages, lets HOLD keep the morsels of FILE, and becomes such a process itself
 *   sharing traced PROGRAM...   runs a program whose parent traces it
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <err.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "morsel.h"

extern long touch(int percent) __attribute__((weak));

/* KiB of the library that are mapped shared: text, and nothing else that can be accessed. */
static long shared(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	unsigned long start, end, bytes = 0;
	char line[4096], flags[8];

	if (!maps)
		err(1, "/proc/self/maps");
	while (fgets(line, sizeof line, maps))
		if (strstr(line, "/libtext") && sscanf(line, "%lx-%lx %7s", &start, &end, flags) == 3 &&
		    flags[3] == 's' && strncmp(flags, "---", 3)) {
			if (strcmp(flags, "r-xs"))
				errx(1, "shared, but no text: %s", line);
			bytes += end - start;
		}
	fclose(maps);
	return bytes >> 10;
}

static void call(const char *library)
{
	long (*function)(int) = touch;

	if (library) {
		void *handle = dlopen(library, RTLD_NOW);
		if (!handle || !(function = dlsym(handle, "touch")))
			errx(1, "%s", dlerror());
	}
	long called = function(100);
	fprintf(stderr, "shared %ld\n", shared());
	printf("called %ld\n", called);
	fflush(stdout);
}

static void wait_for(pid_t child)
{
	int status;

	if (child < 0 || waitpid(child, &status, 0) != child || status)
		errx(1, "the other process failed");
}

/* Page tables of morsels in the whole system; 0 without the module. */
static long tables(void)
{
	struct morsel_totals totals = { 0 };
	int device = open(MORSEL_DEVICE, O_RDONLY | O_CLOEXEC);

	if (device >= 0 && ioctl(device, MORSEL_TOTALS, &totals))
		err(1, "MORSEL_TOTALS");
	close(device);
	return totals.tables;
}

/* The second process is started by us, anew, while we have the library. */
static void pair(char **again, int secure)
{
	long first = tables();
	int there[2], end[2];
	char byte;

	if (pipe2(there, O_CLOEXEC) || pipe2(end, O_CLOEXEC))
		err(1, "pipe");
	pid_t child = fork();
	if (child == 0) {
		/* It stays until its input ends. */
		dup2(end[0], 0);
		dup2(there[1], 3);
		/* A set-user-id program, as the kernel sees it. */
		if (secure && setresuid(1000, 0, 0))
			err(1, "setresuid");
		execv(again[0], again);
		err(1, "%s", again[0]);
	}
	close(there[1]);
	if (read(there[0], &byte, 1) != 1)
		errx(1, "no second process");
	fprintf(stderr, "tables %ld %ld\n", first, tables());
	close(end[1]);
	wait_for(child);
}

/* Nobody has a morsel but the holder when the program begins, which ends with us. */
static void held(char *holder, char *file, char **again)
{
	int there[2];
	char line[4096];

	if (pipe2(there, O_CLOEXEC))
		err(1, "pipe");
	pid_t child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(there[1], 1);
		execv(holder, (char *[]){ holder, file, NULL });
		err(1, "%s", holder);
	}
	close(there[1]);
	/* Without a morsel it ends, and says why. */
	while (child > 0 && read(there[0], line, sizeof line) < 0)
		;
	setenv("LD_MORSEL_MAP", "auto", 1);
	execv(again[0], again);
	err(1, "%s", again[0]);
}

static int traced(char **program)
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		execv(program[0], program);
		err(1, "%s", program[0]);
	}
	while (waitpid(child, &status, 0) == child && WIFSTOPPED(status))
		ptrace(PTRACE_CONT, child, 0, WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int main(int argc, char **argv)
{
	const char *job = argc > 1 ? argv[1] : "";
	char byte;

	if (!strcmp(job, "traced"))
		return traced(argv + 2);
	if (!strcmp(job, "second")) {
		call(argv[2]);
		if (write(3, "", 1) != 1 || read(0, &byte, 1) != 0)
			err(1, "the first process");
	} else if (!strcmp(job, "fork")) {
		call(argv[2]);
		pid_t child = fork();
		if (child == 0) {
			call(argv[2]);
			_exit(0);
		}
		wait_for(child);
	} else if (!strcmp(job, "held")) {
		call(argv[6]);
		held(argv[2], argv[3], (char *[]){ argv[4], argv[5], argv[6], NULL });
	} else if (!strcmp(job, "pair") || !strcmp(job, "auto") || !strcmp(job, "secure")) {
		call(argv[4]);
		if (!strcmp(job, "auto"))
			setenv("LD_MORSEL_MAP", job, 1);
		pair((char *[]){ argv[2], argv[3], "second", argv[4], NULL }, !strcmp(job, "secure"));
	} else {
		call(argv[1]);
	}
	return 0;
}
