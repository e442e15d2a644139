// Under setuid the loader's own LD_MORSEL_* variables have no effect.
//#Spec: 3
//#Only: interp
//#Musl: 1.2.3
//#Sandbox: yes
//#Prog:
//#Run: cp -L {ld} ld.so; patchelf --set-interpreter {dir}/ld.so prog
//#Run: chmod 4755 prog; cp {libc} {tmp}/libc.so; chmod 777 {tmp}
//#Run: export LD_MORSEL_STATS={tmp}/stats LD_MORSEL_LOG=trace LD_MORSEL_LIBC=/nowhere/libc.so
//#Run: setpriv --reuid=65534 --regid=65534 --clear-groups ./prog; [ -e {tmp}/stats ] && echo 'statistics written'; true
//#Expect: main
#include <stdio.h>
int main(void) { puts("main"); }
