// Arguments and environment are unchanged, LD_* variables included; NULL ends both.
//#Spec: 5, 61
//#Run: env -i LD_PRELOAD=./none.so A=1 LD_LIBRARY_PATH=/nowhere B= {start} one '' "three x"
//#Expect: <./prog> <one> <> <three x>
//#Expect: <LD_PRELOAD=./none.so> <A=1> <LD_LIBRARY_PATH=/nowhere> <B=>
#include <stdio.h>
#include <string.h>
int main(int argc, char **argv, char **envp) {
    for (int i = 0; i < argc; i++) printf("%s<%s>", i ? " " : "", argv[i]);
    printf("%s\n", argv[argc] ? "not terminated" : "");
    for (int i = 0, n = 0; envp[i]; i++)
        if (strncmp(envp[i], "LD_MORSEL", 9)) printf("%s<%s>", n++ ? " " : "", envp[i]);
    puts("");
}
