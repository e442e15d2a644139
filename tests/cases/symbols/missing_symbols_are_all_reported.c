// Each undefined symbol is reported, libraries first, and the program is not started.
//#Spec: 35, 37, 41
//#Lib: libfoo.so = foo.c -DDEFINED
//#Prog: -lfoo
//#Lib: libfoo.so = foo.c
//#Expect-err[interp]: Error relocating $DIR/libfoo.so: missing_in_library: symbol not found
//#Expect-err[direct]: Error relocating ./libfoo.so: missing_in_library: symbol not found
//#Expect-err: Error relocating ./prog: missing_one: symbol not found
//#Expect-err: Error relocating ./prog: missing_two: symbol not found
//#Expect-exit: 127
#include <stdio.h>
void missing_one(void), missing_two(void), use(void);
void (*pointers[])(void) = {missing_one, missing_two, use};
int main(void) { puts("started"); }
//#File: foo.c
#ifdef DEFINED
void missing_one(void) {}
void missing_two(void) {}
#endif
void missing_in_library(void);
void use(void) { missing_in_library(); }
