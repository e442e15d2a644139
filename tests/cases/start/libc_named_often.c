// A program may name libc by more names than usual.
//#Spec: 1, 21
//#Prog:
//#Make: patchelf --add-needed libm.so --add-needed libpthread.so --add-needed librt.so --add-needed libdl.so --add-needed libutil.so prog
//#Expect: all of them are libc
#include <stdio.h>
int main(void) { puts("all of them are libc"); }
