// A copied variable is one object for program and library, initialised from the library.
//#Spec: 33, 37
//#Lib: libfoo.so = foo.c
//#Prog: -no-pie -fno-pie -lfoo
//#Expect: 42 7 pointer ok
#include <stdio.h>
extern int value;
extern int *pointer;
int get(void);
int main(void) {
    int before = value;
    value = 7;
    printf("%d %d %s\n", before, get(), pointer == &value ? "pointer ok" : "two copies");
}
//#File: foo.c
int value = 42;
int *pointer = &value;
int get(void) { return value; }
