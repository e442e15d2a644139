// Two libraries at one fixed address: the second cannot be loaded, the resource is busy.
//#Spec: 23
//#Lib: libone.so = foo.c -nostdlib -Wl,-Ttext-segment=0x10000000
//#Lib: libtwo.so = foo.c -nostdlib -Wl,-Ttext-segment=0x10000000
//#Prog: -lone -ltwo
//#Patch: libone.so ehdr.e_type = 2
//#Patch: libtwo.so ehdr.e_type = 2
//#Expect-err: Error loading shared library libtwo.so: Resource busy (needed by ./prog)
//#Expect-exit: 127
int main(void) {}
//#File: foo.c
int foo;
