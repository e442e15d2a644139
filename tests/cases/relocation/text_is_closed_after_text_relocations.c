// With DT_TEXTREL musl leaves the whole mapping writable and executable; the loader closes the text again.
//#Spec: 25
//#Make: musl-gcc -c -fno-pic -mcmodel=large -O1 foo.c -o foo.o
//#Lib: libfoo.so = foo.o -Wl,-z,notext,-z,norelro
//#Prog: -lfoo
//#Beyond-musl: no page stays both writable and executable
//#Expect[musl]: rwxp
//#Expect-match[morsel]: ^(r--p\n|r-xp\n|rw-p\n)+$
#include <stdio.h>
#include <string.h>
void *f(void);
int main(void) {
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512], last[8] = "";
    f();
    while (fgets(line, sizeof line, maps)) {
        if (!strstr(line, "/libfoo.so")) continue;
        char *permissions = strtok(strchr(line, ' '), " ");
        if (strcmp(permissions, last)) puts(strcpy(last, permissions));
    }
}
//#File: foo.c
int value = 42;
void *f(void) { return &value; }
