// A musl program that needs a library built for glibc is told so in one line.
//#Spec: beyond
//#Beyond-musl: stock musl prints a line for each missing symbol
//#Make: gcc -shared -fPIC -O1 -o libfoo.so foo.c
//#Prog: -lfoo -Wl,--unresolved-symbols=ignore-in-shared-libs
//#Expect-err-match[musl]: register_printf_function: symbol not found
//#Expect-exit[musl]: 127
//#Expect-err-match[morsel]: ^[^\n]*libfoo\.so[^\n]*glibc[^\n]*\n$
//#Expect-exit[morsel]: 127
int f(void);
int main(void) { return f(); }
//#File: foo.c
#include <printf.h>
int f(void) { return register_printf_function('W', 0, 0); }
