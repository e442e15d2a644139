// A hole between two segments is part of the library's span.
//#Spec: 23, 24
//#Lib: libfoo.so = foo.c -Wl,--section-start=.far=0x1000000
//#Prog: -lfoo
//#Expect: 1 2
#include <stdio.h>
int near_value(void), far_value(void);
int main(void) { printf("%d %d\n", near_value(), far_value()); }
//#File: foo.c
static volatile int near_data = 1;
static volatile int far_data __attribute__((section(".far"))) = 2;
int near_value(void) { return near_data; }
int far_value(void) { return far_data; }
