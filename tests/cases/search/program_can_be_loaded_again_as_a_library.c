// The program's file is not recognised by its inode: preloaded, it is mapped and constructed a second time.
//#Spec: 19
//#Env: LD_PRELOAD={dir}/prog
//#Expect: constructed
//#Expect: constructed
//#Expect: main
#include <stdio.h>
__attribute__((constructor)) static void init(void) { puts("constructed"); }
int main(void) { puts("main"); }
