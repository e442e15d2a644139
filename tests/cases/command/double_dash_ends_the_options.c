// After -- a name that begins with dashes is the program.
//#Spec: 5
//#Only: direct
//#Make: musl-gcc -o ./--prog main.c
//#Run: {ld} -- --prog --list
//#Expect: --prog --list
#include <stdio.h>
int main(int argc, char **argv) { printf("%s %s\n", argv[0], argv[1]); }
