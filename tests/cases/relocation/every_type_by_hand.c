// All the plain relocation types: 64, PC32 (patched in), GLOB_DAT, JUMP_SLOT, RELATIVE, with addends.
//#Spec: 38
//#Lib: libfoo.so = foo.c rel.s
//#Patch: libfoo.so rela[near_alias].r_type = R_X86_64_PC32
//#Prog: -lfoo
//#Expect: 64 ok, 64 with addend ok, PC32 ok, GLOB_DAT ok, JUMP_SLOT ok, RELATIVE ok
#include <stdio.h>
int check(void);
int main(void) { return check(); }
//#File: rel.s
        .data
        .globl near, near_alias, table, place32
near:
near_alias:
        .quad 0
table:  .quad far
        .quad far + 8
        .quad local
place32: .quad near_alias + 4
        .globl far
far:    .quad 1, 2
local:  .quad 3
        .text
        .globl through_got
through_got:
        mov far@GOTPCREL(%rip), %rax
        ret
        .section .note.GNU-stack,"",@progbits
//#File: foo.c
#include <stdio.h>
#include <string.h>
extern long near, table[3], far[2], place32;
long *through_got(void);
int check(void) {
    printf("64 %s, ", table[0] == (long)far ? "ok" : "wrong");
    printf("64 with addend %s, ", table[1] == (long)far + 8 ? "ok" : "wrong");
    printf("PC32 %s, ", (char *)&place32 + (int)place32 == (char *)&near + 4 ? "ok" : "wrong");
    printf("GLOB_DAT %s, ", through_got() == far ? "ok" : "wrong");
    printf("JUMP_SLOT %s, ", strlen("four") == 4 ? "ok" : "wrong");
    printf("RELATIVE %s\n", *(long *)table[2] == 3 ? "ok" : "wrong");
    return 0;
}
