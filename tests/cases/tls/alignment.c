// TLS alignments from 16 bytes to 64 KiB hold in program and libraries, in the main and other threads.
//#Spec: 43, 44
//#Lib: liba16.so = lib.c -DN=a16 -DA=16
//#Lib: liba64.so = lib.c -DN=a64 -DA=64
//#Lib: liba4096.so = lib.c -DN=a4096 -DA=4096
//#Lib: liba65536.so = lib.c -DN=a65536 -DA=65536
//#Lib: lib1.so = lib.c -DN=a1 -DA=1
//#Prog: -la16 -l1 -la65536 -la64 -la4096
//#Expect: main: 0 0 0 0 0 0
//#Expect: thread: 0 0 0 0 0 0
#include <pthread.h>
#include <stdio.h>
static _Thread_local _Alignas(1024) char own[7] = "x";
int a16(void), a64(void), a4096(void), a65536(void), a1(void);
static void *thread(void *name) {
    int wrong = ((unsigned long)own & 1023) != 0 || *own != 'x';
    printf("%s: %d %d %d %d %d %d\n", (char *)name, wrong, a16(), a64(), a4096(), a65536(), a1());
    return 0;
}
int main(void) {
    pthread_t t;
    thread("main");
    pthread_create(&t, 0, thread, "thread");
    pthread_join(t, 0);
}
//#File: lib.c
static _Thread_local _Alignas(A) char aligned[3] = "ab";
static _Thread_local char after[5] = "cd";
int N(void) { return ((unsigned long)aligned & (A - 1)) != 0 || aligned[1] != 'b' || after[0] != 'c' || after[4]; }
