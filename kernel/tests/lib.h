/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests have in common. Each test is a function that runs in a
 * process of its own and returns if all is well.
 */
#ifndef TEST_LIB_H
#define TEST_LIB_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../include/uapi/morsel.h"

#define PAGE 4096UL
#define CHUNK MORSEL_ALIGN
#define MIB (1UL << 20)
#define RX (PROT_READ | PROT_EXEC)

/* Where tests map things; nothing else comes there. */
#define BASE 0x100000000000UL

struct test {
	const char *name;
	void (*run)(void);
	unsigned int seconds; /* 0: a minute */
};

/* Each file's tests, ended by one without a name. */
extern const struct test attach_tests[], process_tests[], debugger_tests[],
	files_tests[], load_tests[], pressure_tests[], hostile_tests[],
	injection_tests[], remote_tests[];

/* Ends the test unless the condition holds. */
#define check(condition) \
	((condition) ? (void)0 : fail(__FILE__, __LINE__, #condition))
void fail(const char *file, int line, const char *what)
	__attribute__((noreturn));

/* A new file in the disk's folder (a fresh one, removed by the next run): its
 * pages start with their number and @seed. Open for reading.
 */
int make_file(const char *name, size_t size, uint32_t seed);
void check_pages(unsigned long addr, unsigned long first, unsigned long count,
		 uint32_t seed);
bool page_is(unsigned long addr, unsigned long number, uint32_t seed);

int device(void);
struct morsel_region region(int fd, unsigned long offset, unsigned long length,
			    unsigned long addr);
/* Fails unless the answer is this; returns the reason. */
unsigned int attach_expecting(struct morsel_region *r, unsigned int state);
/* The usual: read and execute, shared, at @addr. */
void attach(int fd, unsigned long offset, unsigned long length,
	    unsigned long addr);
void attach_plain(int fd, unsigned long length, unsigned long addr,
		  unsigned int reason);
struct morsel_totals totals(void);

/* Run in a child; returns its exit status, fails if it was killed. */
int in_child(void (*run)(void *), void *arg);
void wait_for(pid_t child);
long minor_faults(void);
void write_file(const char *path, const char *text);
/* A number after @key in a file such as /proc/meminfo, in its units. */
long number_in(const char *path, const char *key);
void sleep_ms(unsigned int ms);
/* Waits until @counter of the totals is what it should be. */
#define wait_totals(member, value) \
	do { \
		for (int i_ = 0; i_ < 100 && totals().member != (value); i_++) \
			sleep_ms(50); \
		check(totals().member == (value)); \
	} while (0)

#endif /* TEST_LIB_H */
