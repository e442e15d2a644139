// A bare name of more than 255 characters is not searched, and no error number says why; one of 255 is found.
//#Spec: 13
//#Make: n=$(printf 'x%.0s' $(seq 249)); musl-gcc -shared -fPIC -o lib$n.so foo.c; musl-gcc -shared -fPIC -Wl,-soname,lib${n}y.so -o short.so foo.c
//#Prog: prog255 = main.c -Wl,-rpath,{dir} lib*x.so
//#Prog: ./short.so
//#Rpath: none
//#Run[interp]: ./prog255
//#Run[direct]: {ld} ./prog255
//#Run: {start} 2>&1 | sed 's/xx*/x/'
//#Expect: main
//#Expect: Error loading shared library libxy.so: No error information (needed by ./prog)
#include <stdio.h>
int main(void) { puts("main"); }
//#File: foo.c
int foo;
