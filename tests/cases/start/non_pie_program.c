// A program linked to a fixed address runs in both ways.
//#Spec: 7, 23
//#Prog: -no-pie -fno-pie
//#Expect: main at 0x401000 or near
#include <stdio.h>
int main(void) { printf("main at %s\n", ((unsigned long)main & ~0xffffful) == 0x400000 ? "0x401000 or near" : "?"); }
