// R_X86_64_NONE does nothing, wherever it stands.
//#Spec: 40
//#Lib: libfoo.so = foo.c
//#Patch: libfoo.so rela[one].r_type = 0
//#Prog: -lfoo
//#Expect: null, two
#include <stdio.h>
extern int *pointers[2];
int main(void) { printf("%s, %s\n", pointers[0] ? "set" : "null", *pointers[1] == 2 ? "two" : "wrong"); }
//#File: foo.c
int one = 1, two = 2;
int *pointers[] = {&one, &two};
