/*
 * What else a way of relocating at page-in changes for a process: things that programs, debuggers and libc do with
 * memory, each done to a page that nobody has touched yet.
 *
 *   effects PAGES WORDS USER
 *
 * Prints a line for each, `WAY RIGHTS DEED RESULT`. RIGHTS is `root` or `user`: with the user's number USER and
 * UFFD_USER_MODE_ONLY, which is all that others than root are allowed by default. RESULT is `right`; or what happened
 * instead. Lines whose WAY is `kernel` tell what of userfaultfd each of them may have.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "region.h"

enum { LIMIT = 2 /* seconds, after which it hangs */ };

/* Where the page's first address is, and what it must be. */
struct probe {
	volatile uint64_t *word;
	uint64_t expected;
	int report; /* a pipe for the outcome */
};

static _Noreturn void say(const struct probe *probe, const char *outcome)
{
	(void)!write(probe->report, outcome, strlen(outcome));
	_exit(0);
}

static _Noreturn void judge(const struct probe *probe, uint64_t word)
{
	say(probe, word == probe->expected ? "right" : word == 0 ? "zeros" : "wrong");
}

static void deed_read(const struct probe *probe)
{
	judge(probe, *probe->word);
}

/* The kernel reads from the page. */
static void deed_write_call(const struct probe *probe)
{
	uint64_t got;
	int ends[2];

	if (pipe(ends) || write(ends[1], (const void *)probe->word, sizeof got) != sizeof got)
		say(probe, strerrorname_np(errno));
	if (read(ends[0], &got, sizeof got) != sizeof got)
		say(probe, "nothing");
	judge(probe, got);
}

/* The kernel writes to the page. */
static void deed_read_call(const struct probe *probe)
{
	int ends[2];

	if (pipe(ends) || write(ends[1], "x", 1) != 1)
		say(probe, "no pipe");
	if (read(ends[0], (char *)probe->word + sizeof(uint64_t), 1) != 1)
		say(probe, strerrorname_np(errno));
	judge(probe, *probe->word);
}

/* As does daemon(3), or a server with a process for each client. */
static void deed_fork(const struct probe *probe)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(*probe->word == probe->expected ? 0 : *probe->word == 0 ? 1 : 2);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		say(probe, "no fork");
	if (WIFSIGNALED(status))
		say(probe, sigabbrev_np(WTERMSIG(status)));
	say(probe, WEXITSTATUS(status) == 0 ? "right" : WEXITSTATUS(status) == 1 ? "zeros" : "wrong");
}

static void deed_signals_blocked(const struct probe *probe)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	judge(probe, *probe->word);
}

/* As programs with crash reports and languages with their own page faults do. */
static void deed_own_handlers(const struct probe *probe)
{
	signal(SIGSEGV, SIG_DFL);
	signal(SIGBUS, SIG_DFL);
	judge(probe, *probe->word);
}

/* Only read, write and exit are allowed. */
static void deed_seccomp(const struct probe *probe)
{
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT))
		say(probe, "no seccomp");
	const char *outcome = *probe->word == probe->expected ? "right" : "wrong";
	(void)!write(probe->report, outcome, 5);
	syscall(SYS_exit, 0);
}

/* What a process with more than one thread may not do. */
static void deed_one_thread(const struct probe *probe)
{
	say(probe, unshare(CLONE_NEWUSER) ? strerrorname_np(errno) : "right");
}

/* A debugger looks; see `look`. */
static void deed_ptrace(const struct probe *probe)
{
	(void)probe;
	ptrace(PTRACE_TRACEME, 0, 0, 0);
	raise(SIGSTOP);
	_exit(0);
}

/* A profiler looks. */
static void deed_process_vm_readv(const struct probe *probe)
{
	(void)probe;
	for (;;)
		pause();
}

static const struct deed {
	const char *name;
	void (*act)(const struct probe *);
} deeds[] = {
	{ "read", deed_read },
	{ "write(2) from it", deed_write_call },
	{ "read(2) into it", deed_read_call },
	{ "fork, then read", deed_fork },
	{ "read with all signals blocked", deed_signals_blocked },
	{ "read after signal(SIGSEGV/SIGBUS, SIG_DFL)", deed_own_handlers },
	{ "read under strict seccomp", deed_seccomp },
	{ "unshare(CLONE_NEWUSER)", deed_one_thread },
	{ "PTRACE_PEEKDATA", deed_ptrace },
	{ "process_vm_readv", deed_process_vm_readv },
};

static void become(uid_t user)
{
	if (user && (setgroups(0, NULL) || setgid(user) || setuid(user)))
		err(1, "cannot become user %u", user);
}

/* In the process that has the region. */
static _Noreturn void act(const struct deed *deed, enum way way, const struct region *region,
			  const struct around *around, int report, uid_t user)
{
	struct probe probe = { .report = report };
	struct { volatile uint64_t *word; uint64_t expected; } where;

	if (user && (setgroups(0, NULL) || setgid(user) || setuid(user)))
		err(1, "cannot become user %u", user);
	/* Else /proc and tracing of it would be root's. */
	prctl(PR_SET_DUMPABLE, 1);
	char *start = way_map(way, region, around);
	if (!start)
		say(&probe, strerrorname_np(errno));
	probe.expected = where.expected = region_expected(region, way, 1);
	probe.word = where.word = (void *)(start + region_word(region, 1));
	(void)!write(report, "@", 1);
	(void)!write(report, &where, sizeof where);
	deed->act(&probe);
	_exit(0);
}

/* Another process reads the page. */
static const char *look(const struct deed *deed, pid_t pid, const void *word, uint64_t expected)
{
	uint64_t got = 0;
	struct iovec here = { &got, sizeof got }, there = { (void *)word, sizeof got };

	alarm(LIMIT);
	errno = 0;
	if (deed->act == deed_ptrace) {
		if (waitpid(pid, NULL, 0) != pid)
			return "lost";
		got = ptrace(PTRACE_PEEKDATA, pid, word, 0);
	} else if (process_vm_readv(pid, &here, 1, &there, 1, 0) != sizeof got && !errno) {
		return "nothing";
	}
	if (errno)
		return errno == EINTR ? "hangs" : strerrorname_np(errno);
	return got == expected ? "right" : got == 0 ? "zeros" : "wrong";
}

static void wake(int signal)
{
	(void)signal;
}

static void try(const struct deed *deed, enum way way, const struct region *region, uid_t user)
{
	struct around around = way_prepare(way, region, user != 0);
	struct { const void *word; uint64_t expected; } where;
	char outcome[64] = "", mark = 0;
	bool looks = deed->act == deed_ptrace || deed->act == deed_process_vm_readv;
	int report[2], status;

	fflush(stdout);
	if (pipe(report))
		err(1, "no pipe");
	pid_t pid = fork();
	if (pid == 0) {
		signal(SIGALRM, SIG_DFL);
		alarm(looks ? 2 * LIMIT : LIMIT);
		act(deed, way, region, &around, report[1], user);
	}
	close(report[1]);
	if (pid < 0 || read(report[0], &mark, 1) != 1)
		errx(1, "%s says nothing", way_names[way]);
	if (mark != '@') {
		outcome[0] = mark;
		(void)!read(report[0], outcome + 1, sizeof outcome - 2);
	} else if (read(report[0], &where, sizeof where) != sizeof where) {
		errx(1, "%s does not say where it is", way_names[way]);
	} else if (looks) {
		snprintf(outcome, sizeof outcome, "%s", look(deed, pid, where.word, where.expected));
		alarm(0);
	} else if (read(report[0], outcome, sizeof outcome - 1) <= 0) {
		outcome[0] = 0;
	}
	if (looks || outcome[0])
		kill(pid, SIGKILL);
	if (waitpid(pid, &status, 0) != pid)
		err(1, "wait");
	if (!outcome[0])
		snprintf(outcome, sizeof outcome, "%s", !WIFSIGNALED(status) ? "nothing" :
			 WTERMSIG(status) == SIGALRM ? "hangs" : sigabbrev_np(WTERMSIG(status)));
	uint64_t word;
	off_t place = region_word(region, 1);
	if (around.memfd >= 0 && pread(around.memfd, &word, sizeof word, place) == sizeof word && !word &&
	    !strcmp(outcome, "zeros"))
		strcat(outcome, " for all");
	close(report[0]);
	way_end(&around, false);
	printf("%s\t%s\t%s\t%s\n", way_names[way], user ? "user" : "root", deed->name, outcome);
}

static const char *result(int value)
{
	return value < 0 ? strerrorname_np(errno) : "allowed";
}

/* What the kernel allows at all. */
static void ask_kernel(uid_t user)
{
	const char *rights = user ? "user" : "root";

	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		struct uffdio_api forks = { .api = UFFD_API, .features = UFFD_FEATURE_EVENT_FORK };
		become(user);
		printf("kernel\t%s\tuserfaultfd(0)\t%s\n", rights, result(syscall(SYS_userfaultfd, 0)));
		int uffd = syscall(SYS_userfaultfd, UFFD_USER_MODE_ONLY);
		printf("kernel\t%s\tuserfaultfd(UFFD_USER_MODE_ONLY)\t%s\n", rights, result(uffd));
		const char *with_forks = result(ioctl(uffd, UFFDIO_API, &forks));
		printf("kernel\t%s\tUFFD_FEATURE_EVENT_FORK\t%s\n", rights, with_forks);
		printf("kernel\t%s\topen /dev/userfaultfd\t%s\n", rights, result(open("/dev/userfaultfd", O_RDWR)));
		fflush(stdout);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, NULL, 0) != pid)
		err(1, "fork");
}

int main(int argc, char **argv)
{
	if (argc != 4)
		errx(2, "usage: effects PAGES WORDS USER");
	struct region region = region_read(argv[1], argv[2]);
	uid_t users[] = { 0, atoi(argv[3]) };
	/* A call that hangs is interrupted. */
	sigaction(SIGALRM, &(struct sigaction){ .sa_handler = wake }, NULL);
	for (size_t user = 0; user < 2; user++) {
		ask_kernel(users[user]);
		for (enum way way = EAGER; way < WAYS; way++)
			for (size_t deed = 0; deed < sizeof deeds / sizeof *deeds; deed++)
				try(&deeds[deed], way, &region, users[user]);
	}
	return 0;
}
