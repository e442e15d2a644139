// An empty DT_NEEDED is an invalid argument.
//#Spec: 10
//#Lib: libfoo.so = foo.c
//#Prog: -lfoo
//#Patch: prog dyn[DT_NEEDED].d_val = 0
//#Expect-err: Error loading shared library : Invalid argument (needed by ./prog)
//#Expect-exit: 127
int main(void) { return 0; }
//#File: foo.c
int foo;
