// A dlopen that fails leaves no mapping, descriptor, object or counter behind, and the same library loads when its needs are met.
//#Spec: 52
//#Lib: libdef.so = def.c
//#Lib: libdep.so = dep.c
//#Lib: libuse.so = use.c -L. -ldep -Wl,-rpath,{dir}
//#Expect: libuse.so in maps: 0, descriptors 1, objects 1, adds 1, tls 1
//#Expect: missing dependency: 1
//#Expect: use 5 8
#include <dirent.h>
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
static int mapped(const char *name) {
    char line[1000];
    int n = 0;
    FILE *f = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, f)) n += strstr(line, name) != 0;
    fclose(f);
    return n;
}
static int descriptors(void) {
    int n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (readdir(d)) n++;
    closedir(d);
    return n;
}
static unsigned long adds, modules;
static int count(struct dl_phdr_info *info, size_t size, void *n) {
    adds = info->dlpi_adds;
    if (info->dlpi_tls_modid > modules) modules = info->dlpi_tls_modid;
    ++*(int *)n;
    return 0;
}
int main(void) {
    int objects = 0, after = 0, fds = descriptors();
    dl_iterate_phdr(count, &objects);
    unsigned long adds_before = adds, modules_before = modules;
    for (int i = 0; i < 10; i++)
        if (dlopen("./libuse.so", RTLD_NOW)) return 1;
    dl_iterate_phdr(count, &after);
    printf("libuse.so in maps: %d, descriptors %d, objects %d, adds %d, tls %d\n", mapped("libuse.so") + mapped("libdep.so"),
           descriptors() == fds, after == objects, adds == adds_before, modules == modules_before);
    rename("libdep.so", "gone.so");
    printf("missing dependency: %d\n", !dlopen("./libuse.so", RTLD_NOW) && !mapped("libuse.so"));
    rename("gone.so", "libdep.so");
    dlopen("./libdef.so", RTLD_NOW | RTLD_GLOBAL);
    void *h = dlopen("./libuse.so", RTLD_NOW);
    if (!h) return puts(dlerror()), 1;
    printf("use %d %d\n", ((int (*)(void))dlsym(h, "use"))(), ((int (*)(void))dlsym(h, "dep"))());
}
//#Sandbox: yes
//#File: def.c
int def(void) { return 5; }
//#File: dep.c
_Thread_local int variable = 8;
int dep(void) { return variable; }
//#File: use.c
int def(void), dep(void);
_Thread_local int *p;
int use(void) { return p ? 0 : dep() == 8 ? def() : 0; }
