// abort ends by SIGABRT without destructors.
//#Spec: 49
//#Lib: libfoo.so = foo.c
//#Prog: -lfoo
//#Expect-signal: SIGABRT
#include <stdlib.h>
int main(void) { abort(); }
//#File: foo.c
#include <unistd.h>
__attribute__((destructor)) static void fini(void) { write(1, "destructor\n", 11); }
