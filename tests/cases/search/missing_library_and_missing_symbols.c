// After a missing library the rest is still relocated, and its undefined symbols reported.
//#Spec: 22, 35, 41
//#Lib: libgone.so = foo.c
//#Prog: -lgone
//#Make: rm libgone.so
//#Expect-err: Error loading shared library libgone.so: No such file or directory (needed by ./prog)
//#Expect-err: Error relocating ./prog: foo: symbol not found
//#Expect-exit: 127
int foo(void);
int main(void) { return foo(); }
//#File: foo.c
int foo(void) { return 0; }
