// Without the loader's variables nothing is written but what the program writes.
//#Spec: beyond
//#Expect: out
//#Expect-err: err
#include <stdio.h>
int main(void) {
    puts("out");
    fputs("err\n", stderr);
}
