// A program that sets LD_PRELOAD and executes itself gets the library the second time.
//#Spec: 21
//#Only: interp
//#Lib: libpre.so = pre.c
//#Expect: first
//#Expect: preloaded
//#Expect: second
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(int argc, char **argv) {
    puts(argc == 1 ? "first" : "second");
    if (argc == 1) {
        setenv("LD_PRELOAD", "./libpre.so", 1);
        fflush(stdout);
        execl("./prog", "./prog", "again", (char *)0);
        perror("execl");
    }
}
//#File: pre.c
#include <stdio.h>
__attribute__((constructor)) static void init(void) { puts("preloaded"); }
