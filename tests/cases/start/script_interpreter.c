// A program serves as the interpreter of a script.
//#Spec: 4
//#Only: interp
//#Make: printf '#!%s/prog argument\n' '{dir}' > script; chmod 755 script
//#Run: ./script more
//#Expect: $DIR/prog argument ./script more
#include <stdio.h>
int main(int argc, char **argv) { printf("%s %s %s %s\n", argv[0], argv[1], argv[2], argv[3]); }
