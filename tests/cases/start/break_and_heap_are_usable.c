// The program break exists and large and small allocations work from the first constructor on.
//#Spec: 60
//#Expect: constructor ok
//#Expect: main ok
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static const char *check(void) {
    for (int i = 0; i < 20; i++) {
        char *block = malloc(1 << i);
        if (!block) return "failed";
        memset(block, i, 1 << i);
        if (i % 2) free(block);
    }
    return "ok";
}
__attribute__((constructor)) static void init(void) { printf("constructor %s\n", check()); }
int main(void) { printf("main %s\n", check()); }
