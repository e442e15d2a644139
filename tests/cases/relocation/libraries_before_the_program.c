// Undefined symbols are reported library by library in load order, and for the program last.
//#Spec: 37
//#Lib: libgone.so = gone.c -DDEFINED
//#Lib: libone.so = lib.c -DN=one
//#Lib: libtwo.so = lib.c -DN=two
//#Prog: -lone -ltwo -lgone
//#Lib: libgone.so = gone.c
//#Expect-err-match: ^Error relocating \S*libone.so: gone: .*\nError relocating \S*libtwo.so: gone: .*\nError relocating ./prog: gone: symbol not found\n$
//#Expect-exit: 127
void gone(void);
int main(void) { gone(); }
//#File: lib.c
void gone(void);
void N(void) { gone(); }
//#File: gone.c
#ifdef DEFINED
void gone(void) {}
#endif
