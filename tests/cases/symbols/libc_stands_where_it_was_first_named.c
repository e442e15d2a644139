// A library named after libc loses to libc's definition; one named before it wins.
//#Spec: 10, 29
//#Lib: libbefore.so = before.c -nostdlib
//#Lib: libafter.so = after.c -nostdlib
//#Prog: -lbefore -lc -lafter
//#Expect: abs=-1 labs=5
int abs(int), printf(const char *, ...);
long labs(long);
int (*volatile a)(int) = abs;
long (*volatile l)(long) = labs;
int main(void) { printf("abs=%d labs=%ld\n", a(-5), l(-5)); }
//#File: before.c
int abs(int x) { return -1; }
//#File: after.c
long labs(long x) { return -1; }
