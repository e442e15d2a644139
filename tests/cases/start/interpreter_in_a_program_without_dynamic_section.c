// A program that names an interpreter and has no dynamic section crashes musl; it must not crash the loader.
//#Spec: 7
//#Beyond-musl: stock musl dies by SIGSEGV
//#Only: interp
//#Prog:
//#Patch: prog phdr[PT_DYNAMIC].p_type = PT_NULL
//#Expect-signal[musl]: SIGSEGV
//#Expect-err-match[morsel]: ^[^\n]*\./prog: Not a valid dynamic program[^\n]*\n$
//#Expect-exit[morsel]: 127
int main(void) {}
