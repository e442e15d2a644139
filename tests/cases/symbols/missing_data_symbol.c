// A data symbol that nobody defines is reported like a function, once for each relocation.
//#Spec: 35, 41
//#Lib: libfoo.so = foo.c -DDEFINED
//#Prog: -fPIC -lfoo
//#Lib: libfoo.so = foo.c
//#Expect-err: Error relocating ./prog: gone: symbol not found
//#Expect-err: Error relocating ./prog: gone: symbol not found
//#Expect-exit: 127
extern int gone;
int *pointers[] = {&gone, &gone};
int main(void) { return *pointers[1]; }
//#File: foo.c
#ifdef DEFINED
int gone;
#endif
