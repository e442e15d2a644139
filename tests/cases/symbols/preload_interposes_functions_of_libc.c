// A preloaded library's puts and exit are used by program and libraries in place of libc's.
//#Spec: 21, 28
//#Lib: libfoo.so = foo.c
//#Lib: libpre.so = pre.c
//#Prog: -lfoo
//#Env: LD_PRELOAD={dir}/libpre.so
//#Expect: [program]
//#Expect: [library]
//#Expect-exit: 33
#include <stdio.h>
#include <stdlib.h>
void library(void);
int main(void) {
    puts("program");
    library();
    exit(3);
}
//#File: foo.c
#include <stdio.h>
void library(void) { puts("library"); }
//#File: pre.c
#include <stdio.h>
#include <stdlib.h>
int puts(const char *text) { return printf("[%s]\n", text); }
void exit(int code) {
    fflush(stdout);
    _Exit(code + 30);
}
