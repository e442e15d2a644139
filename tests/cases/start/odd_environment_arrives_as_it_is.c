// Entries of the environment that look like what a loader makes of them meanwhile arrive as they are.
//#Spec: 3, 5
//#Lib: libempty.so = empty.c
//#Prog: -Wl,--no-as-needed -lempty
//#Run: env -i "$(printf '\001')D_PRELOAD=x" "$(printf '\001')D_LIBRARY_PATH=y" "$(printf '\001')D_=z" LD_LIBRARY_PATH=/nowhere {start}
//#Expect: \1D_PRELOAD=x
//#Expect: \1D_LIBRARY_PATH=y
//#Expect: \1D_=z
//#Expect: LD_LIBRARY_PATH=/nowhere
#include <stdio.h>
extern char **environ;
int main(void) {
    for (char **entry = environ; *entry; entry++) printf("%s%s\n", **entry == 1 ? "\\1" : "", *entry + (**entry == 1));
}
//#File: empty.c
int empty;
