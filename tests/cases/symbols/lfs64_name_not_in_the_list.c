// A name ending in 64 that is not in the fixed list does not lose its suffix.
//#Spec: 34
//#Lib: libfoo.so = foo.c -DDEFINED
//#Prog: -lfoo
//#Lib: libfoo.so = foo.c
//#Expect-err: Error relocating ./prog: puts64: symbol not found
//#Expect-exit: 127
int puts64(const char *);
int main(void) { return puts64("called"); }
//#File: foo.c
#ifdef DEFINED
int puts64(const char *text) { return 0; }
#endif
