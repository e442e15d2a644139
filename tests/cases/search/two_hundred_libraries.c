// A chain of 200 libraries, each needing the next, is loaded, relocated and constructed in order.
//#Spec: 22, 47
//#Timeout: 30
//#Make: sh chain.sh
//#Prog: -lx1
//#Expect: 200
#include <stdio.h>
int x1(void);
int main(void) { printf("%d\n", x1()); }
//#File: chain.sh
echo 'int counter;' > x201.c
musl-gcc -shared -fPIC -o libx201.so x201.c
i=200
while [ $i -gt 0 ]; do
    n=$((i + 1))
    printf '%s\n' "extern int counter; int x$n(void);" \
        "__attribute__((constructor)) static void init(void) { if (counter == 200 - $i) counter++; }" \
        "int x$i(void) { return counter; }" > x$i.c
    musl-gcc -shared -fPIC -o libx$i.so x$i.c -L. -lx$n
    i=$((i - 1))
done
