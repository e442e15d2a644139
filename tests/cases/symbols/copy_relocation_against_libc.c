// stdout, environ and optarg copied from libc into the program stay libc's own variables.
//#Spec: 33
//#Prog: -no-pie -fno-pie
//#Env: MARK=seen
//#Args: -a hello
//#Expect: environ has MARK, optarg hello, optind 3
#include <stdio.h>
#include <string.h>
#include <unistd.h>
extern char **environ;
int main(int argc, char **argv) {
    const char *mark = "no MARK";
    for (char **e = environ; *e; e++)
        if (!strcmp(*e, "MARK=seen")) mark = "MARK";
    getopt(argc, argv, "a:");
    fprintf(stdout, "environ has %s, optarg %s, optind %d\n", mark, optarg, optind);
}
