// The program starts with the descriptors that it was given and no others.
//#Spec: 23
//#Lib: libfoo.so = foo.c
//#Prog: -lfoo
//#Run: bash -c 'for fd in /proc/self/fd/*; do n=${fd##*/}; [ $n -gt 2 ] && eval "exec $n>&-"; done; exec {start}'
//#Expect: 0 1 2
#include <fcntl.h>
#include <stdio.h>
int main(void) {
    for (int fd = 0, n = 0; fd < 100; fd++)
        if (fcntl(fd, F_GETFD) >= 0) printf("%s%d", n++ ? " " : "", fd);
    puts("");
}
//#File: foo.c
int foo;
