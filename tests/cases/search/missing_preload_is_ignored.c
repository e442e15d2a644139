// A preload that does not exist or is no library is passed over without a word.
//#Spec: 21
//#Env: LD_PRELOAD=/nowhere/libx.so liby.so {dir}/main.c
//#Expect: main
#include <stdio.h>
int main(void) { puts("main"); }
