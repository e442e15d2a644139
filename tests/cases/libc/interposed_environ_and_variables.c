// A variable of libc that a program defines itself (optind) is libc's own from then on; environ, an alias, is not.
//#Spec: 28
//#Prog: -rdynamic
//#Env: MARK=mark
//#Args: -x rest
//#Expect: getenv mark, own environ, optind 2
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
char **environ;
int optind = 1;
int getopt(int, char *const *, const char *);
int main(int argc, char **argv, char **envp) {
    getopt(argc, argv, "x");
    char *mark = getenv("MARK");
    printf("getenv %s, %s, optind %d\n", mark ? mark : "unset", environ == envp ? "libc's environ" : "own environ",
           optind);
}
