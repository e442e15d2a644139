// libc's debugging names are there for programs that look for them.
//#Spec: 59
//#Expect: both
#include <stdio.h>
void _dl_debug_state(void);
extern void *_dl_debug_addr;
int main(void) {
    _dl_debug_state();
    puts(_dl_debug_addr ? "both" : "no address");
}
