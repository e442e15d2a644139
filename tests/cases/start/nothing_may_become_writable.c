// A program starts where no mapping may become writable that was not.
//#Spec: beyond
//#Without-image: an image's data become writable for a moment
//#Lib: libx.so = x.c
//#Prog: deny = deny.c
//#Prog: -lx
//#Run: ./deny {start}
//#Expect: 7
#include <stdio.h>
int seven(void);
int main(void) { printf("%d\n", seven()); }
//#File: x.c
int seven(void) { return 7; }
//#File: deny.c
#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
// As in <linux/filter.h> and <linux/seccomp.h>, which musl-gcc has not got.
struct filter { unsigned short code; unsigned char if_true, if_false; unsigned value; };
struct program { unsigned short length; struct filter *filters; };
int main(int argc, char **argv) {
    struct filter filters[] = {
        {0x20, 0, 0, 0},                          // the number of the call
        {0x15, 0, 3, SYS_mprotect},
        {0x20, 0, 0, 16 + 2 * 8},                 // its third argument
        {0x15, 0, 1, PROT_READ | PROT_WRITE},
        {0x06, 0, 0, 0x00050000 | EACCES},        // an error
        {0x06, 0, 0, 0x7fff0000},                 // allowed
    };
    struct program program = {sizeof filters / sizeof *filters, filters};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (prctl(22, 2, &program)) return 1;         // PR_SET_SECCOMP, SECCOMP_MODE_FILTER
    execv(argv[1], argv + 1);
    return 2;
}
