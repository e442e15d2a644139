// A library with text relocations can be loaded at run time.
//#Spec: 25
//#Lib: libtext.so = text.s -nostdlib -Wl,-z,notext
//#Expect: 5
#include <dlfcn.h>
#include <stdio.h>
int main(void) {
    void *h = dlopen("./libtext.so", RTLD_NOW);
    if (!h) return puts(dlerror()), 1;
    printf("%d\n", ((int (*)(void))dlsym(h, "text"))());
}
//#File: text.s
        .text
        .globl text
text:   movabs $value, %rax
        mov (%rax), %eax
        ret
        .data
value:  .long 5
        .section .note.GNU-stack,"",@progbits
