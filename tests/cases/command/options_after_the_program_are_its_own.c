// Options after the program belong to the program, and a single dash is no option.
//#Spec: 5
//#Only: direct
//#Run: {ld} ./prog --list -- -x; {ld} -list; echo "exit $?"
//#Expect: 4: --list -- -x
//#Expect: exit 1
//#Expect-err: $LD: cannot load -list: No such file or directory
#include <stdio.h>
int main(int argc, char **argv) { printf("%d: %s %s %s\n", argc, argv[1], argv[2], argv[3]); }
