// A program that asks for an executable stack in PT_GNU_STACK changes nothing for the loader.
//#Spec: 9
//#Lib: libfoo.so = foo.c -Wl,-z,execstack
//#Prog: -lfoo
//#Expect: stack rw-p
#include <stdio.h>
#include <string.h>
int main(void) {
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512];
    while (fgets(line, sizeof line, maps))
        if (strstr(line, "[stack]")) printf("stack %.4s\n", strchr(line, ' ') + 1);
}
//#File: foo.c
int foo;
