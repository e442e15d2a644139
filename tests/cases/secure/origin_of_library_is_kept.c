// Under setuid a library found by an absolute path may still use $ORIGIN.
//#Spec: 3, 18
//#Only: interp
//#Musl: 1.2.3
//#Sandbox: yes
//#Make: mkdir deep
//#Lib: deep/libdeep.so = deep.c
//#Lib: libfoo.so = foo.c -Ldeep -ldeep -Wl,-rpath,'$ORIGIN/deep'
//#Rpath: {dir}
//#Prog: -lfoo -Wl,-rpath-link,deep
//#Run: cp -L {ld} ld.so; patchelf --set-interpreter {dir}/ld.so prog
//#Run: chmod 4755 prog; setpriv --reuid=65534 --regid=65534 --clear-groups ./prog
//#Expect: deep
#include <stdio.h>
const char *f(void);
int main(void) { puts(f()); }
//#File: foo.c
const char *deep(void);
const char *f(void) { return deep(); }
//#File: deep.c
const char *deep(void) { return "deep"; }
