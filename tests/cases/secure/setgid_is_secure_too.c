// A different effective group is enough for secure mode.
//#Spec: 3
//#Only: interp
//#Musl: 1.2.3
//#Sandbox: yes
//#Lib: libpre.so = pre.c
//#Prog:
//#Run: cp -L {ld} ld.so; patchelf --set-interpreter {dir}/ld.so prog
//#Run: chgrp 1 prog; chmod 2755 prog
//#Run: setpriv --reuid=65534 --regid=65534 --clear-groups env LD_PRELOAD={dir}/libpre.so ./prog
//#Expect: gid 65534, egid 1
#include <stdio.h>
#include <unistd.h>
int main(void) { printf("gid %d, egid %d\n", getgid(), getegid()); }
//#File: pre.c
#include <stdio.h>
__attribute__((constructor)) static void init(void) { puts("preloaded"); }
