// Each segment of a library has exactly the permissions of its program header.
//#Spec: 23
//#Without-image: its pages are the image's in /proc/self/maps
//#Lib: libfoo.so = foo.c -Wl,-z,separate-code,-z,norelro
//#Prog: -lfoo
//#Expect: r--p r-xp r--p rw-p
#include <stdio.h>
#include <string.h>
int main(void) {
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512], all[64] = "", *permissions;
    while (fgets(line, sizeof line, maps)) {
        if (!strstr(line, "/libfoo.so")) continue;
        permissions = strchr(line, ' ');
        if (strlen(all) < 40) strncat(all, permissions, 5);
    }
    puts(all + 1);
}
//#File: foo.c
const char text[] = "text";
int data = 1;
int f(void) { return data; }
