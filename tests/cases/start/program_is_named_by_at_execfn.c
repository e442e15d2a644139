// Messages name the program as it was executed, not by its argv[0].
//#Spec: 4
//#Only: interp
//#Lib: libfoo.so = foo.c -DDEFINED
//#Prog: -lfoo
//#Lib: libfoo.so = foo.c
//#Run: bash -c 'exec -a another ./prog'
//#Expect-err: Error relocating $DIR/prog: gone: symbol not found
//#Expect-exit: 127
void gone(void);
int main(void) { gone(); }
//#File: foo.c
#ifdef DEFINED
void gone(void) {}
#endif
