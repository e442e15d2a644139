// A folder that may not be searched (EACCES) goes on with the next one.
//#Spec: 16
//#Sandbox: yes
//#Make: mkdir closed && chmod 700 closed
//#Lib: libfoo.so = foo.c
//#Prog: -lfoo
//#Rpath: none
//#Run: cp -L {ld} ld.so; cp -L {libc} libc.so; patchelf --set-interpreter {dir}/ld.so prog
//#Run[morsel,1.2.5]: export LD_MORSEL_LIBC={dir}/libc.so
//#Run: user="setpriv --reuid=65534 --regid=65534 --clear-groups env LD_LIBRARY_PATH={dir}/closed:{dir}"
//#Run[interp]: exec $user ./prog
//#Run[direct]: exec $user ./ld.so ./prog
//#Expect: foo
#include <stdio.h>
const char *f(void);
int main(void) { puts(f()); }
//#File: foo.c
const char *f(void) { return "foo"; }
