// LD_MORSEL_STATS=PATH writes one JSON object about the start; - means standard error.
//#Spec: beyond
//#Without-image: nothing is looked up
//#Beyond-musl: stock musl has no statistics
//#Lib: libfoo.so = foo.c
//#Prog: -lfoo
//#Run[musl]: {start}
//#Run[morsel]: LD_MORSEL_STATS={tmp}/stats {start} && python3 check.py <{tmp}/stats
//#Run[morsel]: LD_MORSEL_STATS=- {start} 2>&1 >/dev/null | python3 check.py
//#Expect: main
//#Expect[morsel]: prog libfoo.so
//#Expect[morsel]: prog libfoo.so
#include <stdio.h>
int main(void) { puts("main"); }
//#File: foo.c
_Thread_local int foo;
//#File: check.py
import json, sys
text = sys.stdin.read()
stats = json.loads(text)
assert text.count("\n") == 1 and text.endswith("\n"), "one line"
for key in ["loader", "objects", "relocations", "lookups", "system_calls", "phases_ns"]:
    assert key in stats, key
for thing in stats["objects"]:
    for key in ["name", "origin", "backend", "address", "bytes", "tls"]:
        assert key in thing, (key, thing)
    assert thing["address"] % 4096 == 0 and thing["bytes"] % 4096 == 0, thing
assert all(isinstance(n, int) and n >= 0 for n in stats["phases_ns"].values())
assert stats["system_calls"] > 0 and stats["lookups"] > 0 and sum(stats["relocations"].values()) > 0
origins = [thing["origin"] for thing in stats["objects"]]
assert all(origins.count(one) == 1 for one in ["loader", "libc", "vdso"]), origins
print(*[thing["name"].split("/")[-1] for thing in stats["objects"] if thing["origin"] not in ("loader", "libc", "vdso")])
