// The rest of the last file page and the pages after it are zero, and writable.
//#Spec: 24
//#Lib: libfoo.so = foo.c
//#Prog: -lfoo
//#Expect: library 0, program 0
#include <stdio.h>
#include <stdlib.h>
int library(void);
static char data[3] = "ab", bss[100000];
int main(void) {
    int wrong = data[0] != 'a';
    for (int i = 0; i < 100000; i++) wrong += bss[i] != 0, bss[i] = 1;
    printf("library %d, program %d\n", library(), wrong);
}
//#File: foo.c
static char data[3] = "ab", bss[100000];
int library(void) {
    int wrong = data[0] != 'a';
    for (int i = 0; i < 100000; i++) wrong += bss[i] != 0, bss[i] = 1;
    return wrong;
}
