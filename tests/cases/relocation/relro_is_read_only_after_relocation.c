// The relocation-read-only part is protected: a write to it is fatal, in program and library.
//#Spec: 27
//#Lib: libfoo.so = foo.c -Wl,-z,relro,-z,now
//#Prog: -lfoo -Wl,-z,relro,-z,now
//#Expect: program protected, library protected
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
static sigjmp_buf back;
static int target;
static int *const volatile pointer __attribute__((section(".data.rel.ro"))) = &target;
void *library_pointer(void);
static void handler(int signal) { siglongjmp(back, 1); }
static const char *probe(volatile char *p) {
    if (sigsetjmp(back, 1)) return "protected";
    *p = *p;
    return "writable";
}
int main(void) {
    signal(SIGSEGV, handler);
    printf("program %s, ", probe((char *)&pointer));
    printf("library %s\n", probe(library_pointer()));
}
//#File: foo.c
static int target;
static int *const pointer __attribute__((section(".data.rel.ro"), used)) = &target;
void *library_pointer(void) { return (void *)&pointer; }
