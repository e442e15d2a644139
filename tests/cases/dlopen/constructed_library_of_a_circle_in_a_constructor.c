// To open a library whose constructors have run runs nothing, also if what it depends on, in a circle, still waits.
//#Spec: 46, 50
//#Lib: libd.so = d.c -Wl,-rpath,{dir}
//#Make: musl-gcc -shared -fPIC -o libb.so -x c /dev/null
//#Lib: liba.so = a.c -Wl,--no-as-needed -L. -lb -ld
//#Lib: libb.so = b.c -Wl,--no-as-needed -L. -la
//#Prog: -la
//#Expect: b
//#Expect: d begins
//#Expect: d ends
//#Expect: a
//#Expect: main
#include <stdio.h>
int main(void) { puts("main"); }
//#File: a.c
#include <stdio.h>
__attribute__((constructor)) static void a(void) { puts("a"); }
//#File: b.c
#include <stdio.h>
__attribute__((constructor)) static void b(void) { puts("b"); }
//#File: d.c
#include <dlfcn.h>
#include <stdio.h>
__attribute__((constructor)) static void d(void) {
    puts("d begins");
    puts(dlopen("libb.so", RTLD_NOW) ? "d ends" : dlerror());
}
