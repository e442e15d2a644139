// gdb stops when a library is loaded later, lists it, and stops at a pending breakpoint in it.
//#Spec: 59
//#Only: interp
//#Timeout: 60
//#Lib: libplugin.so = plugin.c -g
//#Prog: -g
//#Run: gdb -nx -q -batch -ex 'set debuginfod enabled off' -ex 'set breakpoint pending on' -ex 'catch load libplugin' -ex 'break in_plugin' -ex run -ex 'echo [stopped]\n' -ex 'info sharedlibrary' -ex cont -ex 'echo [breakpoint]\n' -ex bt -ex cont ./prog >{tmp}/out 2>&1
//#Run: sed -n '/^\[stopped\]/,/^\[breakpoint\]/p' {tmp}/out | grep -oE 'libplugin.so$' | sort -u; sed -n '/^\[breakpoint\]/,$p' {tmp}/out | grep -oE '(in_plugin|main) \([^)]*\)|exited .*\]'
//#Expect: libplugin.so
//#Expect: in_plugin (n=42)
//#Expect: main ()
//#Expect: exited normally]
#include <dlfcn.h>
int main(void) {
    void *h = dlopen("./libplugin.so", RTLD_NOW);
    return ((int (*)(int))dlsym(h, "in_plugin"))(42) - 42;
}
//#File: plugin.c
int in_plugin(int n) { return n; }
