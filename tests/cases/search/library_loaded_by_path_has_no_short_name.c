// A library preloaded by path does not satisfy its bare name: the search finds another file.
//#Spec: 11, 12
//#Make: mkdir other
//#Lib: libfoo.so = foo.c -DTEXT='"searched"' -DEXTRA=from_search
//#Lib: other/libfoo.so = foo.c -DTEXT='"preloaded"' -DEXTRA=from_preload
//#Prog: -lfoo
//#Env: LD_PRELOAD={dir}/other/libfoo.so
//#Expect: preloaded, and the searched file is loaded as well
#include <stdio.h>
const char *f(void);
int from_search(void);
int main(void) { printf("%s, %s\n", f(), from_search() ? "and the searched file is loaded as well" : ""); }
//#File: foo.c
const char *f(void) { return TEXT; }
int EXTRA(void) { return 1; }
