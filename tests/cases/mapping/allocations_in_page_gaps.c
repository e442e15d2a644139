// Whatever malloc gets from the ends of mapped pages, it overwrites nothing of program and libraries.
//#Spec: 26
//#Lib: libfoo.so = foo.c
//#Prog: -lfoo -no-pie -fno-pie
//#Expect: intact
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
extern int data[3], end_marker[5];
static char bss[123];
int main(void) {
    for (int i = 0; i < 2000; i++) memset(malloc(16 + i % 50), 0xaa, 16 + i % 50);
    int wrong = data[0] != 1 || data[2] != 3 || end_marker[4] != 0;
    for (int i = 0; i < 123; i++) wrong += bss[i] != 0;
    puts(wrong ? "something was overwritten" : "intact");
}
//#File: foo.c
int data[3] = {1, 2, 3}, end_marker[5];
