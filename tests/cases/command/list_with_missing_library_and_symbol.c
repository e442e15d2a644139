// --list goes on after a missing library, reports undefined symbols, and exits with 127.
//#Spec: 8, 41
//#Only: direct
//#Normalise: addresses
//#Lib: libgone.so = foo.c
//#Prog: -lgone
//#Make: rm libgone.so
//#Run: {ld} --list ./prog
//#Expect: \t$LD (0xADDR)
//#Expect: \tlibc.so => $LD (0xADDR)
//#Expect-err: Error loading shared library libgone.so: No such file or directory (needed by ./prog)
//#Expect-err: Error relocating ./prog: foo: symbol not found
//#Expect-exit: 127
int foo(void);
int main(void) { return foo(); }
//#File: foo.c
int foo(void) { return 0; }
