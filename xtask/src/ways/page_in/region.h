/*
 * Ways to give a process pages with addresses in them that must be moved by some delta. The pages, and where in them the
 * addresses are, come from files: those of a real image, gathered.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { PAGE = 4096 };

/* What is to be mapped. */
struct region {
	int file;            /* the pages as they are for the image's base */
	const char *pages;   /* the same, mapped */
	size_t count;        /* how many */
	const uint64_t *words; /* where the addresses are, in order */
	const uint32_t *first; /* for each page, which of the words is its first one; and the end */
	uint64_t delta;      /* what each of them must be moved by */
};

/* How it is done. The names are in `way_names`. */
enum way {
	OWN_BASE, /* at the image's base: nothing is changed */
	EAGER,    /* all is changed at once */
	THREAD,   /* userfaultfd, and a thread that makes pages */
	MONITOR,  /* userfaultfd, and another process that makes pages */
	SIGBUS_,  /* userfaultfd that sends signals, whose handler makes pages */
	SIGSEGV_, /* no userfaultfd: no access, and a handler that changes a page and allows it */
	SHARED,   /* a memfd that a monitor fills page by page; processes map it privately */
	MINOR,    /* the same, with the monitor asked at each process's first access (UFFDIO_CONTINUE) */
	FILES,    /* a file system that makes pages when the kernel reads them; processes map its file privately */
	WAYS,
};

extern const char *const way_names[WAYS];

/* What a way needs from outside the process. */
struct around {
	pid_t monitor;   /* another process, if one is needed */
	bool stays;      /* whether that serves later processes as well */
	int socket;      /* to it; -1 if it needs none */
	int memfd;       /* pages that processes share: a memfd, or a file of a file system of ours; -1 if there are none */
	bool user_only;  /* whether userfaultfd serves accesses of user mode only, as it must without privileges */
};

/* Makes a page with its addresses moved. */
void make_page(const struct region *region, size_t page, char *start);
/* Starts a process that serves a file of these pages, which is returned. */
int fuse_start(const struct region *region, pid_t *server);
/* Reads a region from the file of its pages and that of its words. */
struct region region_read(const char *pages, const char *words);
/* Starts the monitor, if a way needs one, and makes a memfd for it. */
struct around way_prepare(enum way way, const struct region *region, bool user_only);
/* The same for one more process with the same memfd. */
struct around way_again(enum way way, const struct region *region, const struct around *first);
/* Ends the monitor, unless it is to serve a later process, too. */
void way_end(struct around *around, bool goes_on);
/* Maps the region. NULL, with errno, if the kernel refuses something. */
char *way_map(enum way way, const struct region *region, const struct around *around);
/* What the first of a page's addresses must be in a process. */
uint64_t region_expected(const struct region *region, enum way way, size_t page);
/* Where in the region it is. */
size_t region_word(const struct region *region, size_t page);
