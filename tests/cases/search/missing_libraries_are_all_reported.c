// Every missing library is reported, with who needs it; the program is not started and the exit is 127.
//#Spec: 22, 41
//#Lib: libgone.so = foo.c
//#Lib: liblost.so = foo.c
//#Lib: libhalf.so = half.c -llost
//#Prog: -lgone -lhalf
//#Make: rm libgone.so liblost.so
//#Expect-err: Error loading shared library libgone.so: No such file or directory (needed by ./prog)
//#Expect-err[interp]: Error loading shared library liblost.so: No such file or directory (needed by $DIR/libhalf.so)
//#Expect-err[direct]: Error loading shared library liblost.so: No such file or directory (needed by ./libhalf.so)
//#Expect-exit: 127
#include <stdio.h>
int main(void) { puts("started"); }
//#File: foo.c
int foo;
//#File: half.c
int half;
