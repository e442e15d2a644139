/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The parts of morsel.ko and how they know each other.
 *
 *   main.c      module, parameters, device
 *   ioctl.c     calls from user space
 *   attach.c    mapping a region and turning the mapping into a shared one
 *   vma.c       what the kernel asks of such a mapping: faults, forks, ...
 *   cache.c     which morsels there are, and their lifetime
 *   tables.c    page tables and the pages in them
 *   mm.c        what is known about each address space
 *   notifier.c  putting tables into an address space and taking them out
 *   shrinker.c  giving memory back
 *
 * Locks, outermost first: mmap lock, mapping's own lock; i_mmap lock;
 * morsel_mm.lock; PMD lock. morsel.lock is taken without any of them.
 */
#ifndef MORSEL_H
#define MORSEL_H

#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include "compat.h"
#include "include/uapi/morsel.h"

struct morsel;

/**
 * struct morsel_chunk - 2 MiB of a morsel
 * @morsel: whose
 * @entry: what goes into the PMD of an address space
 * @page: the page table, or the first page of the 2 MiB copy
 * @nr: pages inside the file; less than 512 only at its end
 * @sum: checksum of the page table, 0 for a copy
 */
struct morsel_chunk {
	struct morsel *morsel;
	pmd_t entry;
	struct page *page;
	unsigned int nr;
	u64 sum;
};

/**
 * struct morsel_tables - what a filled morsel consists of
 * @work: frees it after a grace period
 * @pages: small pages that are held
 * @huge: chunks that are copies
 * @nr: chunks; what lies behind the end of the file has none
 */
struct morsel_tables {
	struct rcu_work work;
	unsigned long pages;
	unsigned int huge;
	unsigned int nr;
	struct morsel_chunk chunk[];
};

/**
 * struct morsel - a region of a file, with one protection
 * @node: in the cache, unless retired
 * @id: number for user space
 * @mapping: the file's page cache; with the next four members the key
 * @pgoff: first page
 * @pages: length, a multiple of 512
 * @prot: PROT_READ and PROT_EXEC
 * @huge: copies are wanted
 * @file: counts references: each mapping, each attaching process, each hold.
 *	Its release frees the morsel and then, in core code, the module.
 * @backing: the file itself
 * @fs_ops: what its file system would do in our place
 * @page_prot: of its page-table entries, and of mappings that may use them
 * @users: mappings and attaching processes: it must stay filled for them
 * @lock: filling and emptying
 * @held: pages it holds, copies included, for who has not the lock
 * @tables: NULL while empty. While filled, writing to the file is denied.
 */
struct morsel {
	struct hlist_node node;
	u64 id;
	struct address_space *mapping;
	pgoff_t pgoff;
	pgoff_t pages;
	u32 prot;
	bool huge;
	struct file *file;
	struct file *backing;
	const struct vm_operations_struct *fs_ops;
	pgprot_t page_prot;
	atomic_t users;
	struct mutex lock;
	unsigned long held;
	struct morsel_tables *tables;
};

/**
 * struct morsel_window - what is installed in 1 GiB of an address space
 * @slot: for each 2 MiB the chunk its PMD entry points to, or frozen for
 */
struct morsel_window {
	struct morsel_chunk *slot[PTRS_PER_PMD];
};

/* Plain faults of who is lazy: as many as cost what sharing does. */
#define MORSEL_LAZY_FAULTS 4

/**
 * struct morsel_mm - what is known about an address space
 * @node: to be found by @mm
 * @list: of all, in the order of @id
 * @id: later ones have higher ones
 * @mm: which
 * @sub: tells of everything that changes its page tables
 * @lock: the slots, and @sub's sequence
 * @windows: struct morsel_window by address >> 30; they stay to the end
 * @vmas: its mappings that are ours; it is freed with the last
 * @registered: @sub works; false until a fault needs it
 * @patience: how many faults are served plainly before
 */
struct morsel_mm {
	struct hlist_node node;
	struct list_head list;
	u64 id;
	struct mm_struct *mm;
	struct mmu_interval_notifier sub;
	spinlock_t lock;
	struct xarray windows;
	atomic_t vmas;
	bool registered;
	atomic_t patience;
	struct rcu_head rcu;
};

/* struct morsel_totals without what is counted elsewhere. */
struct morsel_counters {
	atomic64_t morsels, processes, mappings, pinned, tables, huge;
	atomic64_t built, shared, failed, installed, removed, frozen;
	atomic64_t detached, dropped, damaged;
	atomic64_t plain[MORSEL_WHY_COUNT];
};

extern struct morsel_counters morsel_count;
extern struct workqueue_struct *morsel_wq;

/* main.c: module parameters */
extern bool morsel_enabled, morsel_secure_exec, morsel_require_exec;
extern unsigned long morsel_limit_mib;
bool morsel_fault_injected(void);

/* ioctl.c */
extern const struct file_operations morsel_device_fops;
extern const struct file_operations morsel_fops;

/* attach.c */
u32 morsel_allowed(struct file *file);
void morsel_attach(struct morsel_region *region);
int morsel_check_region(const struct morsel_region *region, u32 flags);
u32 morsel_why(int error);

/* vma.c */
extern const struct vm_operations_struct morsel_vm_ops;
struct morsel_chunk *morsel_chunk_at(struct vm_area_struct *vma,
				     unsigned long addr);
void morsel_make_private(struct vm_area_struct *vma,
			 const struct vm_operations_struct *ops);
void morsel_detach_vma(struct vm_area_struct *vma);

/* cache.c */
u32 morsel_suitable_inode(const struct inode *inode);
u32 morsel_suitable(struct file *backing);
struct morsel *morsel_find(struct file *backing,
			   const struct morsel_region *region);
struct address_space *morsel_mapping_of(struct file *file);
bool morsel_is_ready(struct file *file, const struct morsel_region *region);
int morsel_use(struct morsel *m, const struct vm_operations_struct *fs_ops,
	       bool fill);
void morsel_unuse(struct morsel *m);
struct morsel *morsel_next(u64 id, bool idle);
unsigned long morsel_idle_pages(void);
void morsel_forget_all(void);
int morsel_release(struct inode *inode, struct file *file);
int morsel_describe(struct morsel *m, struct morsel_stat *stat);

/* tables.c */
int morsel_fill(struct morsel *m);
void morsel_empty(struct morsel *m);
int morsel_tables_init(void);
void morsel_tables_exit(void);
extern pmd_t morsel_frozen;

/* mm.c */
struct morsel_mm *morsel_mm_get(struct mm_struct *mm);
struct morsel_mm *morsel_mm_of(struct mm_struct *mm);
void morsel_mm_put(struct morsel_mm *mmm);
int morsel_mm_register(struct morsel_mm *mmm);
struct morsel_window *morsel_window(struct morsel_mm *mmm, unsigned long addr);
void morsel_detach_mm(struct mm_struct *mm);
unsigned int morsel_detach_all(bool wait);

/* notifier.c */
extern const struct mmu_interval_notifier_ops morsel_notifier_ops;
void morsel_install(struct morsel_mm *mmm, struct morsel_window *window,
		    struct vm_fault *vmf);
void morsel_clear(struct morsel_mm *mmm, unsigned long start,
		  unsigned long end);

/* shrinker.c */
bool morsel_memory_is_short(void);
int morsel_shrinker_init(void);
void morsel_shrinker_exit(void);

#endif /* MORSEL_H */
