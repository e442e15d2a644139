// Within an object the PLT's relocations are done before the others.
//#Spec: 37
//#Lib: libfoo.so = foo.c -DDEFINED
//#Prog: -fPIC -lfoo -Wl,-z,lazy
//#Lib: libfoo.so = foo.c
//#Expect-err: Error relocating ./prog: in_plt: symbol not found
//#Expect-err: Error relocating ./prog: in_data: symbol not found
//#Expect-exit: 127
void in_plt(void);
extern int in_data;
int *pointer = &in_data;
int main(void) { in_plt(); }
//#File: foo.c
#ifdef DEFINED
void in_plt(void) {}
int in_data;
#endif
