// Under setuid a run path with $ORIGIN in the program is ignored as a whole.
//#Spec: 3, 18
//#Only: interp
//#Musl: 1.2.3
//#Sandbox: yes
//#Lib: libfoo.so = foo.c
//#Prog: -lfoo
//#Run: cp -L {ld} ld.so; patchelf --set-interpreter {dir}/ld.so prog
//#Run: chmod 4755 prog; setpriv --reuid=65534 --regid=65534 --clear-groups ./prog; echo "exit $?"; ./prog
//#Expect: exit 127
//#Expect: foo
//#Expect-err: Error loading shared library libfoo.so: No such file or directory (needed by ./prog)
//#Expect-err: Error relocating ./prog: f: symbol not found
#include <stdio.h>
const char *f(void);
int main(void) { puts(f()); }
//#File: foo.c
const char *f(void) { return "foo"; }
