// SPDX-License-Identifier: GPL-2.0
/*
 * Runs the tests in an empty folder and says in TAP how they went:
 * morsel-tests FOLDER [PART OF A NAME]. After each one nothing may be left in
 * the module, whose counters must be as they were before the first.
 */
#include <signal.h>
#include <sys/prctl.h>
#include <time.h>

#include "lib.h"

static const struct {
	const char *name;
	const struct test *tests;
} groups[] = {
	{ "attach", attach_tests }, { "process", process_tests },
	{ "debugger", debugger_tests }, { "files", files_tests },
	{ "hostile", hostile_tests }, { "load", load_tests },
	{ "pressure", pressure_tests }, { "injection", injection_tests },
	{ "remote", remote_tests },
};

static bool run(const struct test *test)
{
	pid_t child = fork();
	int status = -1;

	check(child >= 0);
	if (!child) {
		setpgid(0, 0);
		alarm(test->seconds ? test->seconds : 60);
		test->run();
		_exit(0);
	}
	check(waitpid(child, &status, 0) == child);
	/* What it left running when it failed. */
	kill(-child, SIGKILL);
	while (waitpid(-child, NULL, 0) > 0)
		;
	if (WIFSIGNALED(status))
		dprintf(1, "# ended by signal %d\n", WTERMSIG(status));
	return status == 0;
}

/* Everything is given back, if perhaps after a grace period. */
static bool clean(void)
{
	struct morsel_totals t = totals();

	for (int i = 0; i < 100 && (t.morsels || t.mappings || t.processes); i++) {
		sleep_ms(50);
		t = totals();
	}
	if (t.morsels || t.mappings || t.processes || t.pinned || t.tables)
		dprintf(1, "# left: %llu morsels, %llu mappings, %llu processes, %llu bytes, %llu tables\n",
			t.morsels, t.mappings, t.processes, t.pinned, t.tables);
	return !(t.morsels || t.mappings || t.processes || t.pinned || t.tables ||
		 t.huge);
}

int main(int argc, char **argv)
{
	unsigned int number = 0, failed = 0;
	char name[128];

	if (argc < 2 || chdir(argv[1])) {
		fprintf(stderr, "usage: morsel-tests FOLDER [NAME]\n");
		return 2;
	}
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	signal(SIGPIPE, SIG_IGN);
	for (size_t g = 0; g < sizeof(groups) / sizeof(*groups); g++)
		for (const struct test *t = groups[g].tests; t->name; t++) {
			snprintf(name, sizeof(name), "%s: %s", groups[g].name,
				 t->name);
			if (argc > 2 && !strstr(name, argv[2]))
				continue;
			time_t begin = time(NULL);
			bool ok = run(t);

			ok = clean() && ok;
			number++;
			failed += !ok;
			dprintf(1, "%s %u - %s # %ld s\n", ok ? "ok" : "not ok",
				number, name, (long)(time(NULL) - begin));
		}
	dprintf(1, "1..%u\n", number);
	return failed ? 1 : 0;
}
