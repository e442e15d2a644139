// A library loaded under its file name does not satisfy its DT_SONAME: that is searched again.
//#Spec: 12
//#Lib: libreal.so = foo.c -DNAME='"real"' -Wl,-soname,libalias.so
//#Lib: libalias.so = foo.c -DNAME='"alias"'
//#Prog: -Wl,./libreal.so
//#Run: LD_LIBRARY_PATH=. LD_PRELOAD=libreal.so {start}
//#Expect: constructed real
//#Expect: constructed alias
//#Expect: main
#include <stdio.h>
int main(void) { puts("main"); }
//#File: foo.c
#include <stdio.h>
__attribute__((constructor)) static void init(void) { puts("constructed " NAME); }
