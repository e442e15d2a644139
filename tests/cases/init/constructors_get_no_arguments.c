// Constructors are called without arguments: argc and argv are not passed.
//#Spec: 48
//#Lib: libfoo.so = foo.c
//#Prog: -lfoo
//#Args: one two three four five six seven
//#Expect: no argument count
#include <stdio.h>
int main(void) {}
//#File: foo.c
#include <stdio.h>
__attribute__((constructor)) static void init(int argc, char **argv) {
    puts(argc == 8 ? "argc was passed" : "no argument count");
}
