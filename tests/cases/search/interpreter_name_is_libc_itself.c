// A DT_NEEDED equal to the program's PT_INTERP is the loader itself.
//#Spec: 4, 10
//#Only: interp
//#Make: ln -s {interp} ./ld.so
//#Lib: libstub.so = stub.c -Wl,-soname,{dir}/ld.so -nostdlib
//#Prog: -Wl,--dynamic-linker={dir}/ld.so -lstub -nodefaultlibs
//#Expect: main
int puts(const char *);
int main(void) { puts("main"); return 0; }
//#File: stub.c
int puts(const char *text) { return 0; }
int __libc_start_main(void) { return 0; }
