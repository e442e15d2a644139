// Types SECTION and FILE and binding 11 never match; COMMON, NOTYPE and GNU_UNIQUE do.
//#Spec: 30
//#Lib: libodd.so = odd.c
//#Patch: libodd.so sym[section].st_info = 0x13
//#Patch: libodd.so sym[file].st_info = 0x14
//#Patch: libodd.so sym[binding].st_info = 0xb1
//#Patch: libodd.so sym[common].st_info = 0x15
//#Patch: libodd.so sym[notype].st_info = 0x10
//#Patch: libodd.so sym[unique].st_info = 0xa1
//#Lib: libnorm.so = norm.c
//#Prog: -fPIC -lodd -lnorm
//#Expect: section 2, file 2, binding 2, common 1, notype 1, unique 1
#include <stdio.h>
extern int section, file, binding, common, notype, unique;
int *p[] = {&section, &file, &binding, &common, &notype, &unique};
int main(void) {
    printf("section %d, file %d, binding %d, common %d, notype %d, unique %d\n", *p[0], *p[1], *p[2], *p[3],
           *p[4], *p[5]);
}
//#File: odd.c
int section = 1, file = 1, binding = 1, common = 1, notype = 1, unique = 1;
//#File: norm.c
int section = 2, file = 2, binding = 2, common = 2, notype = 2, unique = 2;
