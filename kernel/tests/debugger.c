// SPDX-License-Identifier: GPL-2.0
/* Debuggers and privileged programs get private mappings. */
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/user.h>

#include "lib.h"

static int file;

static void traced_is_plain(void)
{
	pid_t child;

	file = make_file("f", 4 * MIB, 30);
	child = fork();
	if (!child) {
		check(ptrace(PTRACE_TRACEME, 0, 0, 0) == 0);
		attach_plain(file, 4 * MIB, BASE, MORSEL_WHY_TRACED);
		check_pages(BASE, 0, 1024, 30);
		_exit(0);
	}
	wait_for(child);
}

/* A process that has a morsel and waits. */
static pid_t victim(void)
{
	pid_t child;
	int ready[2];
	char c;

	file = make_file("f", 4 * MIB, 31);
	check(pipe(ready) == 0);
	child = fork();
	if (!child) {
		attach(file, 0, 4 * MIB, BASE);
		check_pages(BASE, 0, 1024, 31);
		check(write(ready[1], "x", 1) == 1);
		for (;;) {
			sleep_ms(10);
			/* Also what the debugger wrote is not an error. */
			check_pages(BASE + 2 * MIB, 512, 512, 31);
		}
	}
	check(read(ready[0], &c, 1) == 1);
	return child;
}

static void debugger_that_comes_later(void)
{
	pid_t child = victim();
	int status;
	long word;

	check(ptrace(PTRACE_ATTACH, child, 0, 0) == 0);
	check(waitpid(child, &status, 0) == child);
	check(totals().mappings == 1);
	word = ptrace(PTRACE_PEEKTEXT, child, BASE + 3 * PAGE, 0);
	check((uint32_t)word == 3 && totals().mappings == 1);
	check(ptrace(PTRACE_POKETEXT, child, BASE + 3 * PAGE, 0xcc) == 0);
	check(ptrace(PTRACE_PEEKTEXT, child, BASE + 3 * PAGE, 0) == 0xcc);
	check(totals().mappings == 0);
	/* Only there. */
	attach(file, 0, 4 * MIB, BASE);
	check_pages(BASE, 0, 1024, 31);
	check(ptrace(PTRACE_DETACH, child, 0, 0) == 0);
	sleep_ms(100);
	check(kill(child, SIGKILL) == 0);
	check(waitpid(child, &status, 0) == child);
	check(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void breakpoint_is_hit(void)
{
	static const unsigned char code[] = {
		0x90, 0x90, 0xb8, 7, 0, 0, 0, 0xc3
	};
	struct user_regs_struct regs;
	int status, go[2], out;
	pid_t child;

	file = make_file("f", 2 * MIB, 32);
	out = open("f", O_WRONLY);
	check(pwrite(out, code, sizeof(code), 0) == sizeof(code));
	close(out);
	check(pipe(go) == 0);
	child = fork();
	if (!child) {
		char c;

		attach(file, 0, 2 * MIB, BASE);
		check(((int (*)(void))BASE)() == 7);
		check(read(go[0], &c, 1) == 1);
		_exit(((int (*)(void))BASE)());
	}
	sleep_ms(500);
	check(ptrace(PTRACE_SEIZE, child, 0, 0) == 0);
	check(ptrace(PTRACE_INTERRUPT, child, 0, 0) == 0);
	check(waitpid(child, &status, 0) == child);
	long word = ptrace(PTRACE_PEEKTEXT, child, BASE, 0);

	check(ptrace(PTRACE_POKETEXT, child, BASE, (word & ~0xffL) | 0xcc) == 0);
	check(ptrace(PTRACE_CONT, child, 0, 0) == 0);
	check(write(go[1], "x", 1) == 1);
	check(waitpid(child, &status, 0) == child);
	check(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP);
	check(ptrace(PTRACE_GETREGS, child, 0, &regs) == 0);
	check(regs.rip == BASE + 1);
	check(ptrace(PTRACE_CONT, child, 0, 0) == 0);
	check(waitpid(child, &status, 0) == child);
	check(WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

static void self_write(void)
{
	int mem = open("/proc/self/mem", O_RDWR);
	uint32_t value = 99;

	file = make_file("f", 4 * MIB, 33);
	attach(file, 0, 4 * MIB, BASE);
	check_pages(BASE, 0, 1024, 33);
	/* The first attempt makes the mapping private. */
	if (pwrite(mem, &value, 4, BASE + PAGE) != 4)
		check(pwrite(mem, &value, 4, BASE + PAGE) == 4);
	check(page_is(BASE + PAGE, 99, 33) && page_is(BASE, 0, 33));
	check(totals().mappings == 0);
	attach(file, 0, 4 * MIB, BASE + 64 * MIB);
	check_pages(BASE + 64 * MIB, 0, 1024, 33);
}

static void secure_processes(void)
{
	file = make_file("f", 4 * MIB, 34);
	check(setresuid(1000, 0, 0) == 0);
	attach_plain(file, 4 * MIB, BASE, MORSEL_WHY_SECURE);
	check(setresuid(0, 0, 0) == 0);
	write_file("/sys/module/morsel/parameters/secure_exec", "Y");
	check(setresuid(1000, 0, 0) == 0);
	struct morsel_region r = region(file, 0, 4 * MIB, BASE + 64 * MIB);

	attach_expecting(&r, MORSEL_SHARED);
	check(setresuid(0, 0, 0) == 0);
	write_file("/sys/module/morsel/parameters/secure_exec", "N");
}

static void the_switch(void)
{
	pid_t child = victim(), grandchild;

	attach(file, 0, 4 * MIB, BASE);
	grandchild = fork();
	if (!grandchild) {
		/* A child that has not touched it. */
		sleep_ms(1000);
		check_pages(BASE, 0, 1024, 31);
		_exit(0);
	}
	write_file("/sys/module/morsel/parameters/enabled", "N");
	check(totals().mappings == 0);
	attach_plain(file, 4 * MIB, BASE + 64 * MIB, MORSEL_WHY_DISABLED);
	check_pages(BASE, 0, 1024, 31);
	check(mprotect((void *)BASE, 4 * MIB, PROT_READ | PROT_WRITE) == 0);
	write_file("/sys/module/morsel/parameters/enabled", "Y");
	attach(file, 0, 4 * MIB, BASE + 128 * MIB);
	wait_for(grandchild);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

const struct test debugger_tests[] = {
	{ "a traced process is plain", traced_is_plain, 0 },
	{ "a debugger that comes later", debugger_that_comes_later, 0 },
	{ "a breakpoint is hit", breakpoint_is_hit, 0 },
	{ "/proc/self/mem", self_write, 0 },
	{ "secure-exec processes", secure_processes, 0 },
	{ "the switch", the_switch, 0 },
	{ 0 },
};
