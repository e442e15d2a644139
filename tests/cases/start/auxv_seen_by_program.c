// In interp mode the auxiliary vector describes the program; in direct mode it still describes the loader.
//#Spec: 1, 5, 61
//#Expect[interp]: AT_PHDR program, AT_ENTRY program, AT_BASE an ELF file, AT_PAGESZ 4096, AT_EXECFN ./prog
//#Expect[direct]: AT_PHDR other, AT_ENTRY other, AT_BASE zero, AT_PAGESZ 4096, AT_EXECFN $LD
#include <elf.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
extern const Elf64_Ehdr __ehdr_start;
void _start(void);
int main(void) {
    char *base = (char *)getauxval(AT_BASE);
    printf("AT_PHDR %s, ", getauxval(AT_PHDR) == (unsigned long)&__ehdr_start + 64 ? "program" : "other");
    printf("AT_ENTRY %s, ", getauxval(AT_ENTRY) == (unsigned long)_start ? "program" : "other");
    printf("AT_BASE %s, ", !base ? "zero" : memcmp(base, ELFMAG, 4) ? "garbage" : "an ELF file");
    printf("AT_PAGESZ %lu, AT_EXECFN %s\n", getauxval(AT_PAGESZ), (char *)getauxval(AT_EXECFN));
}
