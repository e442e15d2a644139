// A page that is only partly relocation-read-only stays writable.
//#Spec: 27
//#Lib: libfoo.so = foo.c -Wl,-z,relro,-z,now
//#Patch: libfoo.so phdr[PT_GNU_RELRO].p_memsz += -1
//#Prog: -lfoo
//#Expect: written
#include <stdio.h>
void write_it(void);
int main(void) {
    write_it();
    puts("written");
}
//#File: foo.c
static int target;
static int *volatile pointer __attribute__((section(".data.rel.ro"), used)) = &target;
void write_it(void) { pointer = 0; }
