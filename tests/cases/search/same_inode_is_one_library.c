// Two names for one file, by symbolic and hard link, are one library, constructed once.
//#Spec: 19
//#Lib: libone.so = foo.c
//#Make: ln -s libone.so libtwo.so && ln libone.so libthree.so && cp libone.so libfour.so
//#Prog: -lone -ltwo -lthree -lfour
//#Expect: constructed
//#Expect: constructed
//#Expect: main
#include <stdio.h>
int main(void) { puts("main"); }
//#File: foo.c
#include <stdio.h>
__attribute__((constructor)) static void init(void) { puts("constructed"); }
