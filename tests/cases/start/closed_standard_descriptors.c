// With descriptors 0, 1 and 2 closed the loader still works, and leaves them closed.
//#Spec: 23
//#Lib: libfoo.so = foo.c
//#Prog: -lfoo
//#Run: {start} 0<&- 1>&- 2>&-; echo "exit $?"
//#Expect: exit 7
#include <fcntl.h>
int main(void) {
    int open = 0;
    for (int fd = 0; fd < 3; fd++) open += fcntl(fd, F_GETFD) >= 0;
    return open ? open : 7;
}
//#File: foo.c
int foo;
