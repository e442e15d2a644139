// gdb finds the libraries, stops at a pending breakpoint in a constructor and walks the stack.
//#Spec: 59
//#Only: interp
//#Timeout: 60
//#Lib: libfoo.so = foo.c -g
//#Prog: -g -lfoo
//#Run: gdb -nx -q -batch -ex 'set debuginfod enabled off' -ex 'set breakpoint pending on' -ex 'break in_constructor' -ex 'break callback' -ex run -ex 'echo [constructor]\n' -ex 'info sharedlibrary' -ex cont -ex 'echo [backtrace]\n' -ex bt -ex 'print theirs' -ex cont ./prog >{tmp}/out 2>&1
//#Run: sed -n '/^\[constructor\]/,$p' {tmp}/out | grep -o 'libfoo.so$' | sort -u; sed -n '/^\[backtrace\]/,$p' {tmp}/out | grep -oE '(callback|call_back|main) \([^)]*\)|^.1 = .*|exited .*\]'
//#Expect: libfoo.so
//#Expect: callback (n=42)
//#Expect: call_back (f=0xADDR <callback>)
//#Expect: main ()
//#Expect: $1 = 5
//#Expect: exited normally]
//#Normalise: addresses
#include <stdio.h>
int call_back(int (*)(int));
int callback(int n) { return n; }
int main(void) { return call_back(callback) - 42; }
//#File: foo.c
int theirs = 5;
__attribute__((noinline)) void in_constructor(void) { theirs = 5; }
__attribute__((constructor)) static void init(void) { in_constructor(); }
__attribute__((optimize("O0"))) int call_back(int (*f)(int)) { return f(42) + 0; }
