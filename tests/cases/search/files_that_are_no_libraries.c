// A folder, an empty file, a text, a device and an object file end the search with the reason.
//#Spec: 7, 16, 22
//#Lib: libfoo.so = foo.c
//#Prog: -lfoo
//#Make: mkdir -p a/libfoo.so b c d e; : > b/libfoo.so; echo no library > c/libfoo.so; ln -s /dev/null d/libfoo.so; musl-gcc -c -o e/libfoo.so foo.c
//#Run: for d in a b c d e; do LD_LIBRARY_PATH=$d {start}; done
//#Expect-exit: 127
//#Expect-err: Error loading shared library libfoo.so: Is a directory (needed by ./prog)
//#Expect-err: Error loading shared library libfoo.so: Exec format error (needed by ./prog)
//#Expect-err: Error loading shared library libfoo.so: Exec format error (needed by ./prog)
//#Expect-err: Error loading shared library libfoo.so: Exec format error (needed by ./prog)
//#Expect-err: Error loading shared library libfoo.so: Exec format error (needed by ./prog)
int main(void) { return 0; }
//#File: foo.c
int foo;
