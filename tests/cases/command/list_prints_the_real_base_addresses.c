// The addresses that --list prints are page-aligned bases, not zero.
//#Spec: 8
//#Only: direct
//#Lib: libfoo.so = foo.c
//#Prog: -lfoo
//#Run: {ld} --list ./prog | sed -n 's/.*(0x[1-9a-f][0-9a-f]*\(...\))$/\1/p'
//#Expect: 000
//#Expect: 000
//#Expect: 000
int main(void) {}
//#File: foo.c
int foo;
