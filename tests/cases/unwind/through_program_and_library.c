// The unwinder finds the tables of program and library by dl_iterate_phdr.
//#Spec: beyond
//#Lib: libfoo.so = foo.c -fexceptions -Wl,--eh-frame-hdr
//#Prog: find.c -lfoo -fexceptions -rdynamic -Wl,--eh-frame-hdr
//#Expect: backtrace has main and library
#include <stdio.h>
#include <unwind.h>
void call_back(void (*)(void));
int main(void);
static int seen;
static _Unwind_Reason_Code visit(struct _Unwind_Context *context, void *unused) {
    unsigned long ip = _Unwind_GetIP(context);
    seen |= (ip - (unsigned long)call_back < 200) | (ip - (unsigned long)main < 200) << 1;
    return _URC_NO_REASON;
}
static void show(void) { _Unwind_Backtrace(visit, 0); }

int main(void) {
    call_back(show);
    printf("backtrace %s\n", seen == 3 ? "has main and library" : "is incomplete");
}
//#File: foo.c
void call_back(void (*f)(void)) {
    f();
    __asm__ volatile("");
}
//#File: find.c
// What this machine's unwinder wants in place of dl_iterate_phdr, made from dl_iterate_phdr.
#define _GNU_SOURCE
#include <link.h>
struct found { unsigned long long flags; void *start, *end; struct link_map *map; void *eh_frame, *reserved[7]; };
struct query { unsigned long pc; struct found *found; };
static int look(struct dl_phdr_info *info, size_t size, void *argument) {
    struct query *query = argument;
    int inside = 0;
    void *table = 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type == PT_LOAD) inside |= query->pc - info->dlpi_addr - p->p_vaddr < p->p_memsz;
        if (p->p_type == PT_GNU_EH_FRAME) table = (void *)(info->dlpi_addr + p->p_vaddr);
    }
    if (inside) query->found->eh_frame = table;
    return inside && table;
}
int _dl_find_object(void *pc, struct found *found) {
    struct query query = {(unsigned long)pc, found};
    return dl_iterate_phdr(look, &query) ? 0 : -1;
}
