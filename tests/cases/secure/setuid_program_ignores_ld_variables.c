// Under setuid, LD_PRELOAD and LD_LIBRARY_PATH are not followed, and stay in the environment.
//#Spec: 3
//#Only: interp
//#Musl: 1.2.3
//#Sandbox: yes
//#Make: mkdir other
//#Lib: libfoo.so = foo.c -DTEXT='"run path"'
//#Lib: other/libfoo.so = foo.c -DTEXT='"LD_LIBRARY_PATH"'
//#Lib: libpre.so = pre.c
//#Rpath: {dir}
//#Prog: -lfoo
//#Run: cp -L {ld} ld.so; patchelf --set-interpreter {dir}/ld.so prog
//#Run: chmod 4755 prog
//#Run: setpriv --reuid=65534 --regid=65534 --clear-groups env LD_LIBRARY_PATH={dir}/other LD_PRELOAD={dir}/libpre.so ./prog
//#Run: LD_LIBRARY_PATH={dir}/other LD_PRELOAD={dir}/libpre.so ./prog
//#Expect: run path, uid 65534, euid 0, variables set
//#Expect: preloaded
//#Expect: LD_LIBRARY_PATH, uid 0, euid 0, variables set
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
const char *f(void);
int main(void) {
    printf("%s, uid %d, euid %d, variables %s\n", f(), getuid(), geteuid(),
           getenv("LD_PRELOAD") && getenv("LD_LIBRARY_PATH") ? "set" : "gone");
}
//#File: foo.c
const char *f(void) { return TEXT; }
//#File: pre.c
#include <stdio.h>
__attribute__((constructor)) static void init(void) { puts("preloaded"); }
