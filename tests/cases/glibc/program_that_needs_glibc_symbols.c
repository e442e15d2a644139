// A program linked with glibc is refused by one line that says so.
//#Spec: beyond
//#Beyond-musl: stock musl prints a line for each missing symbol
//#Make: gcc -O1 -o prog main.c -lm -Wl,--dynamic-linker={interp}
//#Prog: none
//#Expect-err-match[musl]: ^(Error relocating ./prog: \w+: symbol not found\n)+$
//#Expect-exit[musl]: 127
//#Expect-err-match[morsel]: ^[^\n]*\./prog[^\n]*glibc[^\n]*\n$
//#Expect-exit[morsel]: 127
#define _GNU_SOURCE
#define _FORTIFY_SOURCE 2
#include <printf.h>
#include <obstack.h>
#include <stdio.h>
#include <string.h>
int main(int argc, char **argv) {
    char text[10];
    register_printf_function('W', 0, 0);
    obstack_printf((struct obstack *)argv, "x");
    printf("%s %d\n", strcpy(text, argv[0]), argc);
}
