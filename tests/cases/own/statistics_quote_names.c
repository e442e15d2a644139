// Names with quotes, control characters and bytes that are no UTF-8 give valid JSON.
//#Spec: beyond
//#Beyond-musl: stock musl has no statistics
//#Make: d="$(printf 'a"b\\c\td\033e\303\244')"; mkdir "$d"; musl-gcc -shared -fPIC -o "$d/libfoo.so" foo.c; cp -r "$d" "$(printf 'f\377g')"
//#Make: musl-gcc -o prog main.c -L"$(ls -d a*)" -lfoo -Wl,--no-as-needed -Wl,--dynamic-linker={interp}
//#Prog: none
//#Run[musl]: LD_LIBRARY_PATH="$(ls -d a*)" {start}; LD_LIBRARY_PATH="$(ls -d f?g)" {start}
//#Run[morsel]: for d in a*/ f?g/; do export LD_LIBRARY_PATH="$PWD/$d"; LD_MORSEL_STATS={tmp}/stats {start}; unset LD_LIBRARY_PATH
//#Run[morsel]: python3 -c 'import json, sys; print(len([o for o in json.load(open(sys.argv[1], errors="strict"))["objects"] if "libfoo" in o["name"]]))' {tmp}/stats
//#Run[morsel]: rm {tmp}/stats; done
//#Expect[musl]: foo
//#Expect[musl]: foo
//#Expect[morsel]: foo
//#Expect[morsel]: 1
//#Expect[morsel]: foo
//#Expect[morsel]: 1
#include <stdio.h>
const char *f(void);
int main(void) { puts(f()); }
//#File: foo.c
const char *f(void) { return "foo"; }
