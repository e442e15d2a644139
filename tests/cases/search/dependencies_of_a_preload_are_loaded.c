// A preloaded library's own dependencies are loaded, found by the preload's run path; it has no needer.
//#Spec: 14, 21, 22
//#Make: mkdir sub deep
//#Lib: deep/libdeep.so = deep.c
//#Lib: sub/libpre.so = pre.c -Ldeep -ldeep -Wl,-rpath,'$ORIGIN/../deep'
//#Env: LD_PRELOAD={dir}/sub/libpre.so
//#Expect: deep
//#Expect: preload
//#Expect: main
#include <stdio.h>
int main(void) { puts("main"); }
//#File: pre.c
#include <stdio.h>
__attribute__((constructor)) static void init(void) { puts("preload"); }
//#File: deep.c
#include <stdio.h>
__attribute__((constructor)) static void init(void) { puts("deep"); }
