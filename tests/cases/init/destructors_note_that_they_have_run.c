// What destructors note down is seen by destructors of others that run later, however they look at it.
//#Spec: 49
//#Lib: libbase.so = base.c
//#Lib: libplain.so = plain.c -lbase
//#Lib: libfirst.so = first.c -nostartfiles -lbase
//#Lib: libinside.so = inside.c -nostartfiles -lbase
//#Prog: -lplain -lfirst -linside
//#Expect: inside has run
//#Expect: first has run
//#Expect: plain has run
int main(void) {}
//#File: base.c
#include <stdio.h>
static struct { const char *name; int (*has_run)(void); } watched[3];
static int count;
void watch(const char *name, int (*has_run)(void)) {
  watched[count].name = name;
  watched[count++].has_run = has_run;
}
__attribute__((destructor)) static void end(void) {
  while (count--) printf("%s has%s run\n", watched[count].name, watched[count].has_run() ? "" : " not");
}
//#File: plain.c
#include "guard.h"
static char done;
static int has_run(void) { return done; }
GUARDED("plain", done)
//#File: first.c
// No other file's data come before: the byte is the first of the zeroed ones.
#include "guard.h"
static char done;
static int has_run(void) { return done; }
GUARDED("first", done)
//#File: inside.c
// Likewise, but it is looked at by way of its neighbour.
#include "guard.h"
#include <stddef.h>
struct state { char done, rest[63]; };
static struct state state;
static char *volatile neighbour = state.rest;
static int has_run(void) { return ((struct state *)(neighbour - offsetof(struct state, rest)))->done; }
GUARDED("inside", state.done)
//#File: guard.h
void watch(const char *name, int (*has_run)(void));
#define GUARDED(name, done) \
  __attribute__((constructor)) static void begin(void) { watch(name, has_run); } \
  __attribute__((destructor)) static void end(void) { \
    if (done) return; \
    done = 1; \
  }
