// A directory, a text file, an empty file, an object file and a static program are no valid dynamic programs.
//#Spec: 7
//#Only: direct
//#Make: mkdir folder; : > empty; musl-gcc -c main.c -o main.o; musl-gcc -static -no-pie -o static main.c
//#Run: for f in folder main.c empty main.o static /dev/null; do {ld} $f; echo "exit $?"; done
//#Expect: exit 1
//#Expect: exit 1
//#Expect: exit 1
//#Expect: exit 1
//#Expect: exit 1
//#Expect: exit 1
//#Expect-err: $LD: folder: Not a valid dynamic program
//#Expect-err: $LD: main.c: Not a valid dynamic program
//#Expect-err: $LD: empty: Not a valid dynamic program
//#Expect-err: $LD: main.o: Not a valid dynamic program
//#Expect-err: $LD: static: Not a valid dynamic program
//#Expect-err: $LD: /dev/null: Not a valid dynamic program
int main(void) {}
