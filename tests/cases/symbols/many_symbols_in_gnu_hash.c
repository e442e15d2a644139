// Every one of 2000 symbols is found through bloom filter, buckets and chains, in both kinds of table.
//#Spec: 32
//#Make: for i in $(seq 2000); do echo "int gs_$i(void) { return $i; }"; done > many.c
//#Make: (for i in $(seq 2000); do echo "int gs_$i(void);"; done; echo "int (*all[])(void) = {"; for i in $(seq 2000); do echo "gs_$i,"; done; echo "};") > table.c
//#Make: sed s/gs_/sv_/ many.c > many2.c; sed s/gs_/sv_/g table.c | sed s/all/all2/ > table2.c
//#Lib: libgnu.so = many.c -Wl,--hash-style=gnu
//#Lib: libsysv.so = many2.c -Wl,--hash-style=sysv
//#Prog: table.c table2.c -lgnu -lsysv
//#Expect: 2001000 2001000
#include <stdio.h>
extern int (*all[2000])(void), (*all2[2000])(void);
int main(void) {
    int sum = 0, sum2 = 0;
    for (int i = 0; i < 2000; i++) sum += all[i](), sum2 += all2[i]();
    printf("%d %d\n", sum, sum2);
}
