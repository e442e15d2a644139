// A FIFO in place of a library does not block the start.
//#Spec: beyond
//#Beyond-musl: stock musl waits for ever for somebody to open the other end
//#Lib: libfoo.so = foo.c
//#Prog: -lfoo
//#Make: mkdir fifo; mkfifo fifo/libfoo.so
//#Run[musl]: LD_LIBRARY_PATH=fifo timeout 0.3 {start}
//#Run[morsel]: LD_LIBRARY_PATH=fifo {start}
//#Expect-exit[musl]: 124
//#Expect-exit[morsel]: 127
//#Expect-err-match[morsel]: ^Error loading shared library libfoo.so: .* \(needed by ./prog\)\n$
int main(void) { return 0; }
//#File: foo.c
int foo;
