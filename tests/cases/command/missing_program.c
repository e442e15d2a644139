// A program that cannot be opened is named with the reason; exit 1.
//#Spec: 7
//#Only: direct
//#Run: {ld} ./absent; echo "exit $?"; {ld} ./main.c/x; echo "exit $?"; {ld} ''; echo "exit $?"
//#Expect: exit 1
//#Expect: exit 1
//#Expect: exit 1
//#Expect-err: $LD: cannot load ./absent: No such file or directory
//#Expect-err: $LD: cannot load ./main.c/x: Not a directory
//#Expect-err: $LD: cannot load : No such file or directory
int main(void) {}
