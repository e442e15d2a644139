// TLS that cannot be allocated is reported with its size, and the exit is 127.
//#Spec: 41
//#Prog: tls.s
//#Run: ulimit -v 4000000; {start} 2>&1 | sed 's/ting [0-9]*/ting N/'
//#Expect: ./prog: Error getting N bytes thread-local storage: Out of memory
int main(void) {}
//#File: tls.s
        .section .tbss,"awT",@nobits
        .globl huge
huge:   .zero 0x400000000
        .section .note.GNU-stack,"",@progbits
