// A thread-local variable of the program is seen by its libraries, and the other way round.
//#Spec: 29, 38
//#Lib: libfoo.so = foo.c
//#Prog: -rdynamic -lfoo
//#Expect: 1 2 11 12
#include <stdio.h>
_Thread_local int ours = 1;
extern _Thread_local int theirs;
void change(void);
int main(void) {
    printf("%d %d ", ours, theirs);
    change();
    printf("%d %d\n", ours, theirs);
}
//#File: foo.c
extern _Thread_local int ours;
_Thread_local int theirs = 2;
void change(void) { ours += 10, theirs += 10; }
