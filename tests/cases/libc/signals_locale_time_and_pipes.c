// A varied use of libc works: locale, time zone, signals, pipes, popen, qsort, floating point.
//#Spec: 61
//#Env: TZ=CET-1
//#Expect: 01:00 handled piped 1234 3.14 U+20AC
#include <locale.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <wchar.h>
static volatile int handled;
static void handler(int signal) { handled = 1; }
static int compare(const void *a, const void *b) { return *(char *)a - *(char *)b; }
int main(void) {
    char text[32], letters[] = "4231";
    time_t zero = 0;
    wchar_t wide;
    strftime(text, sizeof text, "%H:%M", localtime(&zero));
    printf("%s ", text);
    signal(SIGUSR1, handler), raise(SIGUSR1);
    printf("%s ", handled ? "handled" : "ignored");
    fgets(text, sizeof text, popen("printf piped", "r"));
    qsort(letters, 4, 1, compare);
    setlocale(LC_ALL, "C.UTF-8");
    mbrtowc(&wide, "\xe2\x82\xac", 3, 0);
    printf("%s %s %.2f U+%04X\n", text, letters, round(acos(-1) * 100) / 100, (unsigned)wide);
}
