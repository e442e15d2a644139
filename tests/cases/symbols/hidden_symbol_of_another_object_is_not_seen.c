// Hidden and local symbols stay inside their library, and bind to its own definition.
//#Spec: 30, 33
//#Lib: libfoo.so = foo.c
//#Lib: libbar.so = bar.c
//#Prog: -lfoo -lbar
//#Expect: foo hidden, foo static, bar
#include <stdio.h>
const char *hidden(void), *ask_hidden(void), *ask_static(void);
int main(void) { printf("%s, %s, %s\n", ask_hidden(), ask_static(), hidden()); }
//#File: foo.c
__attribute__((visibility("hidden"))) const char *hidden(void) { return "foo hidden"; }
static const char *local(void) { return "foo static"; }
const char *(*volatile pointer)(void) = local;
const char *ask_hidden(void) { return hidden(); }
const char *ask_static(void) { return pointer(); }
//#File: bar.c
const char *hidden(void) { return "bar"; }
const char *local(void) { return "bar"; }
