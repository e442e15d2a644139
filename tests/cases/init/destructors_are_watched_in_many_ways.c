// Whether a destructor has run is seen by way of a variable's neighbours, by what it returns to others that call it, by what it does if it is not taken for another, and where constructors have written it.
//#Spec: 49
//#Lib: libbase.so = base.c
//#Lib: libneighbour.so = neighbour.c -lbase
//#Lib: libanswer.so = answer.c -O2 -Wl,--no-as-needed -lbase
//#Lib: libbare.so = answer.c -O2 -nostartfiles -Dfinish=finish_bare -Wl,--no-as-needed -lbase
//#Lib: libcaller.so = caller.c -lanswer -lbare -lbase
//#Lib: libpart.so = part.S -Wl,-z,noexecstack
//#Lib: libwritten.so = written.c -Wl,-z,noseparate-code
//#Patch: libwritten.so phdr[PT_LOAD].p_flags = 7
//#Prog: -Wl,--no-as-needed -lneighbour -lcaller -lpart -lwritten
//#Expect: written anew
//#Expect: part was cleared
//#Expect: bare has run
//#Expect: answer has run
//#Expect: neighbour has run
int main(void) {}
//#File: base.c
#include "watch.h"
#include <unistd.h>
#include <string.h>
static struct { const char *text; int (*has_run)(void); } watched[3];
static int count;
void watch(const char *text, int (*has_run)(void)) {
  watched[count].text = text;
  watched[count++].has_run = has_run;
}
__attribute__((destructor)) static void end(void) {
  while (count--) {
    const char *text = watched[count].has_run() ? watched[count].text : "one has not run\n";
    write(1, text, strlen(text));
  }
}
//#File: watch.h
void watch(const char *text, int (*has_run)(void));
//#File: neighbour.c
#include "watch.h"
#include <stddef.h>
struct state { char done, rest[63]; };
static struct state state;
static char *volatile neighbour = state.rest;
static int has_run(void) { return ((struct state *)(neighbour - offsetof(struct state, rest)))->done; }
__attribute__((constructor)) static void begin(void) { watch("neighbour has run\n", has_run); }
__attribute__((destructor)) static void end(void) {
  if (state.done) return;
  state.done = 1;
}
//#File: answer.c
static char done;
__attribute__((destructor)) char *finish(void) {
  if (done) return 0;
  done = 1;
  return &done;
}
//#File: caller.c
#include "watch.h"
char *finish(void), *finish_bare(void);
static int has_run(void) { return !finish(); }
static int bare_has_run(void) { return !finish_bare(); }
__attribute__((constructor)) static void begin(void) {
  watch("answer has run\n", has_run);
  watch("bare has run\n", bare_has_run);
}
//#File: part.S
// The lowest byte of an address is cleared, which leaves the others.
        .section .fini_array, "aw"
        .quad end
        .text
end:    lea end(%rip), %rax
        xor %al, %al
        test %rax, %rax
        jne 1f
        ret
1:      lea text(%rip), %rsi
        mov $1, %edi
        mov $17, %edx
        mov $1, %eax
        syscall
        ret
text:   .ascii "part was cleared\n"
//#File: written.c
// Code in a segment that may be written is another once constructors have run.
#include <unistd.h>
#include <string.h>
extern char end[];
static void effect(void) { write(1, "written anew\n", 13); }
__attribute__((constructor)) static void begin(void) {
  int distance = (char *)effect - (end + 5);
  end[0] = 0xe9;
  memcpy(end + 1, &distance, 4);
}
__asm__(".section .fini_array, \"aw\"\n .quad end\n .text\n end: ret\n .skip 15, 0x90");
