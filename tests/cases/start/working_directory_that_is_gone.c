// A working directory that was removed does no harm.
//#Spec: 18
//#Run[interp]: mkdir {tmp}/gone; cd {tmp}/gone; rmdir {tmp}/gone; {dir}/prog
//#Run[direct]: mkdir {tmp}/gone; cd {tmp}/gone; rmdir {tmp}/gone; {ld} {dir}/prog
//#Expect: main
#include <stdio.h>
int main(void) { puts("main"); }
