// No page of the process is both writable and executable.
//#Spec: 23
//#Lib: libfoo.so = foo.c
//#Prog: -lfoo
//#Expect: 0
#include <stdio.h>
#include <string.h>
int main(void) {
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512];
    int count = 0;
    while (fgets(line, sizeof line, maps)) count += !strncmp(strchr(line, ' ') + 2, "wx", 2);
    printf("%d\n", count);
}
//#File: foo.c
int foo;
