// Only the chain of who needed whom counts: a sibling's run path finds nothing.
//#Spec: 14
//#Make: mkdir sub
//#Lib: sub/libdeep.so = deep.c
//#Lib: libone.so = one.c -Wl,-rpath,'$ORIGIN/sub'
//#Lib: libtwo.so = two.c -Lsub -ldeep
//#Prog: -lone -ltwo -Wl,-rpath-link,sub
//#Expect-err-match: ^Error loading shared library libdeep.so: No such file or directory \(needed by .*/libtwo.so\)\n$
//#Expect-exit: 127
int main(void) { return 0; }
//#File: deep.c
int deep;
//#File: one.c
int one;
//#File: two.c
int two;
