// Names of the old large-file interface resolve to the plain functions of libc.
//#Spec: 34
//#Expect: fopen64 ok, stat64 ok, lseek64 ok, readdir64_r ok
#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
FILE *open_64(const char *, const char *) __asm__("fopen64");
int stat_64(const char *, struct stat *) __asm__("stat64");
off_t lseek_64(int, off_t, int) __asm__("lseek64");
int readdir_64_r(DIR *, struct dirent *, struct dirent **) __asm__("readdir64_r");
int main(void) {
    struct stat st;
    struct dirent entry, *result;
    FILE *f = open_64("main.c", "r");
    printf("fopen64 %s, ", f ? "ok" : "failed");
    printf("stat64 %s, ", stat_64("main.c", &st) == 0 && st.st_size > 100 ? "ok" : "failed");
    printf("lseek64 %s, ", lseek_64(fileno(f), 9, SEEK_SET) == 9 ? "ok" : "failed");
    printf("readdir64_r %s\n", readdir_64_r(opendir("."), &entry, &result) == 0 ? "ok" : "failed");
}
