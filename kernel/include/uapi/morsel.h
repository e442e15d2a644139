/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * What user space says to /dev/morsel, and what it hears.
 *
 * A morsel is a region of a file together with complete page tables for it,
 * which every process that attaches it shares. All structures have the same
 * layout for 32-bit and 64-bit callers and no padding. Reserved fields must
 * be zero, unknown flags are refused, so that both can be given a meaning
 * later. Integers are in the machine's byte order, sizes in bytes.
 */
#ifndef _UAPI_MORSEL_H
#define _UAPI_MORSEL_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define MORSEL_DEVICE		"/dev/morsel"

/* Raised whenever a program written for the older version would fail. */
#define MORSEL_ABI_VERSION	2

/* What one page table maps: addresses of regions are multiples of this. */
#define MORSEL_ALIGN		0x200000ULL

/* Most regions in one MORSEL_ATTACH_MANY. */
#define MORSEL_MAX_REGIONS	1024

/* Flags of a region. */
#define MORSEL_REPLACE		(1U << 0) /* replace the caller's reservation at addr */
#define MORSEL_POPULATE		(1U << 1) /* install now instead of at the first access */
#define MORSEL_HUGE		(1U << 2) /* map 2 MiB copies where memory allows */
#define MORSEL_READY		(1U << 3) /* share what is filled already, or change nothing */
#define MORSEL_ADOPT		(1U << 4) /* the caller has mapped it itself */
#define MORSEL_LAZY		(1U << 5) /* install only after some faults */
#define MORSEL_FLAGS		(MORSEL_REPLACE | MORSEL_POPULATE | MORSEL_HUGE | \
				 MORSEL_READY | MORSEL_ADOPT | MORSEL_LAZY)

/* What became of a region. */
#define MORSEL_PLAIN		0 /* mapped as by mmap(MAP_PRIVATE); reason says why */
#define MORSEL_SHARED		1 /* mapped, with shared page tables */
#define MORSEL_FAILED		2 /* not mapped; error says why */

/* Why a region was mapped plainly. */
#define MORSEL_WHY_NONE		0
#define MORSEL_WHY_DISABLED	1  /* the module parameter enabled is off */
#define MORSEL_WHY_TRACED	2  /* a debugger has the process */
#define MORSEL_WHY_SECURE	3  /* secure-exec process, see the parameter secure_exec */
#define MORSEL_WHY_PERMISSION	4  /* the caller may not execute the file */
#define MORSEL_WHY_FILESYSTEM	5  /* remote, DAX or otherwise unsuitable */
#define MORSEL_WHY_WRITERS	6  /* the file is open for writing */
#define MORSEL_WHY_LIMIT	7  /* the parameter limit_mib would be exceeded */
#define MORSEL_WHY_MEMORY	8  /* no memory, or it was short a moment ago */
#define MORSEL_WHY_IO		9  /* a page could not be read */
#define MORSEL_WHY_MAPPING	10 /* locked, already changed or otherwise unusual */
#define MORSEL_WHY_INTERRUPTED	11 /* the caller is being killed */
#define MORSEL_WHY_NOT_READY	12 /* MORSEL_READY, and nobody has filled it */
#define MORSEL_WHY_COUNT	13

/**
 * struct morsel_region - one region of a file
 * @fd: in: the file, open for reading
 * @prot: in: PROT_READ, or PROT_READ | PROT_EXEC
 * @offset: in: where the region starts in the file, a multiple of 4 KiB and
 *	less than the file's size
 * @length: in: not 0; out: rounded up to MORSEL_ALIGN, which is what is
 *	mapped, so that the tail is shared too. Pages behind the end of the
 *	file raise SIGBUS, as in any mapping
 * @addr: in: where to map it, a multiple of MORSEL_ALIGN
 * @flags: in: MORSEL_REPLACE and so on
 * @state: out: MORSEL_SHARED, MORSEL_PLAIN or MORSEL_FAILED
 * @error: out: a negative errno with MORSEL_FAILED, otherwise 0
 * @reason: out: MORSEL_WHY_*, with MORSEL_PLAIN
 *
 * Without MORSEL_REPLACE nothing may be mapped in the range (EEXIST). With
 * it, whatever is there must be a private mapping that was never written:
 * a reservation, or the same part of the file, mapped so that it could be
 * read before (EEXIST otherwise).
 *
 * MORSEL_ADOPT (not with MORSEL_REPLACE) maps nothing, which is much cheaper:
 * the region lies in one mapping that the caller has made by
 * mmap(MAP_SHARED) with the same protection, through a descriptor that cannot
 * write (EEXIST otherwise). All of this mapping then is as the answer says:
 * shared where the region is, or private. Parts that have been read before
 * keep private tables, 2 MiB for each.
 *
 * MORSEL_READY is for who would gain by sharing, but not by filling: it never
 * reads the file and never waits for who does. With MORSEL_REPLACE,
 * MORSEL_PLAIN means that the range is as it was, or mapped again privately.
 * Without it and without MORSEL_ADOPT it is only a question: nothing is mapped,
 * @addr means nothing, and MORSEL_SHARED says that it is ready.
 *
 * MORSEL_LAZY is for who may touch next to nothing: the first faults of a
 * process that has attached nothing without it are served as in a plain
 * mapping, and only then is the cost of sharing paid. What they touch stays
 * private, 2 MiB for each.
 *
 * After MORSEL_FAILED the range is as it was before, except that out of
 * memory (ENOMEM) may leave a replaced reservation as PROT_NONE.
 *
 * For MORSEL_HOLD @addr must be 0 and of the flags only MORSEL_HUGE is
 * known; of what is written back only @length and @reason have a meaning.
 */
struct morsel_region {
	__s32 fd;
	__u32 prot;
	__u64 offset;
	__u64 length;
	__u64 addr;
	__u32 flags;
	__u32 state;
	__s32 error;
	__u32 reason;
};

/**
 * struct morsel_regions - several regions in one call
 * @regions: address of an array of struct morsel_region
 * @count: its length, at most MORSEL_MAX_REGIONS
 * @shared: out: how many are MORSEL_SHARED
 * @failed: out: how many are MORSEL_FAILED
 * @reserved: 0
 */
struct morsel_regions {
	__u64 regions;
	__u32 count;
	__u32 shared;
	__u32 failed;
	__u32 reserved;
};

/**
 * struct morsel_version - what the module is
 * @abi: MORSEL_ABI_VERSION of the module
 * @flags: the region flags that it knows
 * @align: MORSEL_ALIGN of the module
 */
struct morsel_version {
	__u32 abi;
	__u32 flags;
	__u64 align;
};

/**
 * struct morsel_stat - one morsel
 * @id: in: for MORSEL_STAT_NEXT, the id to continue after, 0 at first; out:
 *	its number, never used again
 * @device: device number of the file's file system, as in st_dev
 * @inode: inode number of the file
 * @offset: where the region starts in the file
 * @length: its length, a multiple of MORSEL_ALIGN
 * @resident: bytes of the file that are held in memory
 * @tables: page-table pages
 * @huge: 2 MiB copies
 * @mappings: mappings that use it, in all processes
 * @prot: PROT_READ, PROT_EXEC
 * @flags: MORSEL_HUGE
 * @reserved: 0
 */
struct morsel_stat {
	__u64 id;
	__u64 device;
	__u64 inode;
	__u64 offset;
	__u64 length;
	__u64 resident;
	__u32 tables;
	__u32 huge;
	__u32 mappings;
	__u32 prot;
	__u32 flags;
	__u32 reserved;
};

/**
 * struct morsel_totals - everything since the module was loaded
 * @morsels: morsels that exist
 * @processes: address spaces that have a morsel mapped
 * @mappings: mappings that use a morsel
 * @pinned: bytes of files and copies that are held in memory
 * @tables: page-table pages that are shared
 * @huge: 2 MiB copies
 * @built: morsels that were filled
 * @shared: regions that were answered MORSEL_SHARED
 * @failed: regions that were answered MORSEL_FAILED
 * @installed: page tables put into address spaces
 * @removed: page tables taken out again by unmapping and the like
 * @frozen: page tables taken out for a moment while the kernel worked on
 *	the range
 * @detached: mappings turned into private ones (a debugger's write, memory
 *	pressure, the switch)
 * @dropped: morsels emptied because memory was short
 * @damaged: page tables or entries that were found changed; always 0 unless
 *	the kernel or this module has an error
 * @plain: regions that were answered MORSEL_PLAIN, by reason
 */
struct morsel_totals {
	__u64 morsels;
	__u64 processes;
	__u64 mappings;
	__u64 pinned;
	__u64 tables;
	__u64 huge;
	__u64 built;
	__u64 shared;
	__u64 failed;
	__u64 installed;
	__u64 removed;
	__u64 frozen;
	__u64 detached;
	__u64 dropped;
	__u64 damaged;
	__u64 plain[MORSEL_WHY_COUNT];
};

/* Which interface this is. */
#define MORSEL_VERSION		_IOR('M', 0, struct morsel_version)

/*
 * Map one region. 0 unless the region is MORSEL_FAILED, then its error.
 */
#define MORSEL_ATTACH		_IOWR('M', 1, struct morsel_region)

/*
 * Map several regions, each answered for itself. 0 even if some failed;
 * EFAULT if an answer could not be stored, then the rest is not attempted.
 */
#define MORSEL_ATTACH_MANY	_IOWR('M', 2, struct morsel_regions)

/*
 * Fill a morsel and return a descriptor (close-on-exec) that keeps it while
 * nobody has it mapped. Errors: those of a region, or EBUSY (@reason says
 * why it cannot be shared).
 */
#define MORSEL_HOLD		_IOWR('M', 3, struct morsel_region)

/*
 * On a descriptor from MORSEL_HOLD: about this morsel.
 */
#define MORSEL_STAT		_IOR('M', 4, struct morsel_stat)

/*
 * On the device, with CAP_SYS_ADMIN: about the morsel with the lowest id
 * greater than @id. ENOENT when there is none.
 */
#define MORSEL_STAT_NEXT	_IOWR('M', 5, struct morsel_stat)

/* About all together. */
#define MORSEL_TOTALS		_IOR('M', 6, struct morsel_totals)

#endif /* _UAPI_MORSEL_H */
