// A program executed through /proc is named by its argv[0].
//#Spec: 4
//#Only: interp
//#Lib: libfoo.so = foo.c -DDEFINED
//#Prog: -lfoo
//#Lib: libfoo.so = foo.c
//#Run: bash -c 'exec 9<prog; exec -a another /proc/self/fd/9'
//#Expect-err: Error relocating another: gone: symbol not found
//#Expect-exit: 127
void gone(void);
int main(void) { gone(); }
//#File: foo.c
#ifdef DEFINED
void gone(void) {}
#endif
