// $ORIGIN and ${ORIGIN} are the folder of the file that holds the run path.
//#Spec: 18
//#Make: mkdir -p one/two
//#Lib: one/two/libdeep.so = deep.c
//#Lib: one/libfoo.so = foo.c -Lone/two -ldeep -Wl,-rpath,'${ORIGIN}/two:$ORIGIN/three'
//#Rpath: $ORIGIN/one
//#Prog: -Lone -lfoo -Wl,-rpath-link,one/two
//#Run: {start}; cd one
//#Run[interp]: ../prog
//#Run[direct]: {ld} ../prog
//#Expect: deep
//#Expect: deep
#include <stdio.h>
const char *f(void);
int main(void) { puts(f()); }
//#File: deep.c
const char *deep(void) { return "deep"; }
//#File: foo.c
const char *deep(void);
const char *f(void) { return deep(); }
