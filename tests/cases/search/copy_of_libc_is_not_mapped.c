// A copy of libc.so under another name is not loaded as a second libc.
//#Spec: 20
//#Make: cp /lib/ld-musl-x86_64.so.1 libother.so
//#Prog: -Wl,./libother.so
//#Expect: 0 further copies
#include <stdio.h>
#include <string.h>
int main(void) {
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512];
    int count = 0;
    while (fgets(line, sizeof line, maps)) count += strstr(line, "libother") != 0;
    printf("%d further copies\n", count);
}
