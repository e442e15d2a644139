// A program executed with no arguments at all does not upset the loader.
//#Spec: 4
//#Only: interp
//#Expect: argc 1, argv[0] ''
#include <stdio.h>
#include <string.h>
#include <unistd.h>
// The kernel itself adds an empty argv[0]; the variable says that this is the second round.
extern char **environ;
int main(int argc, char **argv) {
    char *none[] = {0}, *environment[] = {"AGAIN=1", 0};
    if (environ[0] && !strcmp(environ[0], "AGAIN=1")) {
        printf("argc %d, argv[0] '%s'\n", argc, argv[0]);
        return 0;
    }
    return execve("./prog", none, environment);
}
