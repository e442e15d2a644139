// Whatever variable of libc a program copies stays shared with libc: both write and read the same object.
//#Spec: 33
//#Prog: -no-pie -fno-pie
//#Make: readelf -rW prog | grep -c COPY | grep -qx '1[0-9]'
//#Env: TZ=XXX5YYY
//#Args: -q
//#Expect: timezone 18000, tzname XXX, daylight 1, signgam -1, optopt q, names prog ./prog, streams ok
#define _GNU_SOURCE
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
extern char *__progname, **__environ;
int main(int argc, char **argv) {
    volatile double minus = -0.5;
    tzset();
    (void)lgamma(minus);
    opterr = 0, optind = 1, optarg = 0;
    getopt(argc, argv, "a");
    fprintf(stdout, "timezone %ld, tzname %s, daylight %d, signgam %d, optopt %c, names %s %s, streams %s\n", timezone,
            tzname[0], daylight, signgam, optopt, __progname, program_invocation_name,
            fileno(stdin) == 0 && fileno(stderr) == 2 && __environ ? "ok" : "wrong");
}
