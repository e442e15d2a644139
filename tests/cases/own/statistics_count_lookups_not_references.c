// What refers to one symbol many times in a row does not make as many lookups.
//#Spec: beyond
//#Without-image: nothing is looked up
//#Beyond-musl: stock musl has no statistics
//#Lib: libfoo.so = foo.S -Wl,-z,noexecstack
//#Prog: -Wl,--no-as-needed -lfoo -rdynamic
//#Run[musl]: {start}
//#Run[morsel]: LD_MORSEL_STATS={tmp}/stats {start} && python3 check.py <{tmp}/stats
//#Expect: main
#include <stdio.h>
int main(void) { puts("main"); }
//#File: foo.S
        .data
        .rept 1000
        .quad main
        .endr
//#File: check.py
import json, sys
stats = json.load(sys.stdin)
assert stats["relocations"]["R_X86_64_64"] >= 1000, stats
assert 0 < stats["lookups"] < 200, stats
